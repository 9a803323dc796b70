"""`mailward policy lint FILE`, `mailward policy show DOMAIN` and `mailward policy set DOMAIN FILE`."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer

from mailward.cli import problem as cli_problem
from mailward.cli.domain_argument import read_domain
from mailward.cli.policy_live import LivePolicy, NoDns, TxtFacts, look_up
from mailward.cli.policy_set import set_policy
from mailward.cli.report_target import open_target
from mailward.core.mtasts.policy import MAX_POLICY_BYTES, Level, Mode, Policy, Problem, lint_policy
from mailward.core.names import InvalidName
from mailward.net.fetch import WELL_KNOWN, FetchError, FetchResult
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.render.visible import make_visible

app = typer.Typer(
    name="policy",
    help="MTA-STS policies: check a file, look at a live domain, publish one of your own.",
    no_args_is_help=True,
)
app.command("set")(set_policy)

EXIT_PROBLEMS = 1
EXIT_UNUSABLE = 2
_DAY_SECONDS = 86_400
_WORDS = {Level.INVALID: "error", Level.WARNING: "warning", Level.NOTE: "note"}


@app.command()
def lint(
    file: Annotated[str, typer.Argument(help="The policy file; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell everything that is wrong with a policy, by line.

    Exit status: 0 clean, 1 senders use it but something should be mended, 2 senders must not use it.
    """
    try:
        body = _read(file)
    except OSError as error:
        raise cli_problem.Problem(f"{file}: {error.strerror or error}") from error
    policy, problems = lint_policy(body)
    if as_json:
        value = {
            "file": file,
            "usable": policy is not None,
            "policy": _policy_json(policy),
            "problems": [_problem_json(problem) for problem in problems],
        }
        _print(_as_json(value))
    else:
        lines = [f"{file}:{_problem_line(problem)}" for problem in problems]
        _print("\n".join([*lines, f"{file}: {_lint_verdict(policy, problems)}"]))
    if policy is None:
        raise typer.Exit(EXIT_UNUSABLE)
    if any(problem.level is not Level.NOTE for problem in problems):
        raise typer.Exit(EXIT_PROBLEMS)


@app.command()
def show(
    domain: Annotated[str, typer.Argument(help="The mail domain, such as example.org.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    resolvers: Annotated[
        list[str] | None,
        typer.Option(
            "--resolver", help="Ask this DNS server (address or address:port) instead of the system's."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="HTTPS port of the policy host, in laboratories.")
    ] = 443,
    ca_file: Annotated[
        Path | None, typer.Option(help="Trust these certificate authorities (PEM) instead of the system's.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Connect to private and loopback addresses too.")
    ] = False,
) -> None:
    """Look at a domain as a sender does: its record, its policy over HTTPS, its MX hosts.

    Exit status: 0 all is well, 1 something should be mended, 2 senders have no policy to use.
    """
    try:
        name = read_domain(domain)
        resolver = Resolver(resolvers or ())
        live = asyncio.run(
            look_up(name, resolver=resolver, guard=Guard(allow_private), ca_file=ca_file, port=port)
        )
    except (InvalidName, ValueError, NoDns) as error:
        raise cli_problem.Problem(str(error)) from error
    _print(_as_json(_live_json(live)) if as_json else "\n".join(_live_lines(live)))
    if not live.usable:
        raise typer.Exit(EXIT_UNUSABLE)
    if not live.is_clean:
        raise typer.Exit(EXIT_PROBLEMS)


def _read(file: str) -> bytes:
    """As much of it as is needed to see that it is too large."""
    if file == "-":
        stdin: TextIO | None = sys.stdin
        if stdin is None:
            raise cli_problem.Problem("standard input is closed")
        return stdin.buffer.read(MAX_POLICY_BYTES + 1)
    with Path(file).open("rb") as stream:
        return stream.read(MAX_POLICY_BYTES + 1)


def _problem_line(problem: Problem) -> str:
    where = "" if problem.line is None else f"{problem.line}:"
    field = f" [{problem.field}]" if problem.field else ""
    return f"{where} {_WORDS[problem.level]}:{field} {problem.message} ({problem.section})"


def _lint_verdict(policy: Policy | None, problems: tuple[Problem, ...]) -> str:
    if policy is None:
        return "senders must not use this policy"
    count = sum(problem.level is Level.WARNING for problem in problems)
    if count:
        return f"senders use this policy; {count} thing{'s' if count > 1 else ''} should be mended"
    return f"a valid policy, mode {policy.mode}"


def _live_lines(live: LivePolicy) -> list[str]:
    lines = [f"MTA-STS of {live.domain}", ""]
    lines += _txt_lines("Record", live.record, "policy id")
    lines += ["", f"Policy: https://mta-sts.{live.domain}{WELL_KNOWN}", *_fetch_lines(live.fetched), ""]
    lines += [*_mx_lines(live), ""]
    lines += _txt_lines("Reports", live.reports, "sent to")
    return [*lines, "", _live_verdict(live)]


def _txt_lines(title: str, facts: TxtFacts, value_name: str) -> list[str]:
    lines = [f"{title}: {facts.name}"]
    lines += [f"  CNAME {make_visible(name)}" for name in facts.chain]
    lines += [f"  TXT {make_visible(text)}" for text in facts.texts]
    lines.append(
        f"  problem: {make_visible(facts.error)}"
        if facts.error
        else f"  {value_name}: {make_visible(facts.value)}"
    )
    if facts.authenticated:
        lines.append("  proved by DNSSEC, says the resolver")
    return lines


def _fetch_lines(fetched: FetchResult | FetchError) -> list[str]:
    if isinstance(fetched, FetchError):
        lines = [f"  problem: {make_visible(str(fetched))}", f"  senders report: {fetched.result_type}"]
    else:
        policy = fetched.policy
        lines = [
            f"  mode {policy.mode}, kept for {_duration(policy.max_age_seconds)}",
            *(f"  mx {pattern}" for pattern in policy.mx),
        ]
    tls, address = fetched.tls, fetched.address
    if tls is not None:
        names = ", ".join(tls.names[:5]) + (", ..." if len(tls.names) > 5 else "")
        lines.append(f"  served by {address} with {tls.version}, certificate for {make_visible(names)}")
        lines.append(f"  issued by {make_visible(tls.issuer)}, valid until {tls.expires}")
    return lines + [f"  {_problem_line(problem).strip()}" for problem in fetched.problems]


def _mx_lines(live: LivePolicy) -> list[str]:
    lines = ["MX hosts:"]
    if live.mx_error:
        lines.append(f"  problem: {make_visible(live.mx_error)}")
    for mx in live.mx:
        if live.policy is None or live.policy.mode is Mode.NONE:
            cover = ""
        elif mx.pattern is None:
            refuse = ": senders do not deliver to it" if live.policy.mode is Mode.ENFORCE else ""
            cover = f"  NOT COVERED by the policy{refuse}"
        else:
            cover = f"  covered by {mx.pattern}"
        lines.append(f"  {make_visible(mx.host)}{cover}")
    return lines


def _live_verdict(live: LivePolicy) -> str:
    if live.record.error:
        return "Senders see no MTA-STS policy: the record is not usable."
    if live.policy is None:
        return "Senders get no policy: unless they have kept an older one, mail to you is not protected."
    if live.policy.mode is Mode.NONE:
        return "The policy says that there is none: mail is not protected by MTA-STS."
    missing = sum(mx.pattern is None for mx in live.mx)
    if missing:
        return f"{missing} of {len(live.mx)} MX hosts are not in the policy."
    if not live.is_clean:
        return "The policy works; see the problems above."
    return (
        "All is well."
        if live.policy.mode is Mode.ENFORCE
        else "All is well, but mode testing protects nothing yet."
    )


def _duration(seconds: int) -> str:
    days = seconds // _DAY_SECONDS
    return f"{seconds} seconds" + (f" ({days} day{'s' if days > 1 else ''})" if days else "")


def _as_json(value: dict[str, object]) -> str:
    return json.dumps(value, indent=2)


def _print(text: str) -> None:
    with open_target(None):
        typer.echo(text)


def _problem_json(problem: Problem) -> dict[str, object]:
    return {**asdict(problem), "level": problem.level.value}


def _policy_json(policy: Policy | None) -> dict[str, object] | None:
    if policy is None:
        return None
    return {
        "mode": policy.mode.value,
        "max_age": policy.max_age_seconds,
        "mx": list(policy.mx),
        "extensions": [list(pair) for pair in policy.extensions],
    }


def _live_json(live: LivePolicy) -> dict[str, object]:
    fetched = live.fetched
    error = None
    if isinstance(fetched, FetchError):
        error = {"code": fetched.code, "message": str(fetched), "result_type": fetched.result_type.value}
    return {
        "domain": live.domain,
        "usable": live.usable,
        "clean": live.is_clean,
        "record": asdict(live.record),
        "policy": _policy_json(live.policy),
        "fetch": {
            "error": error,
            "address": fetched.address,
            "tls": asdict(fetched.tls) if fetched.tls else None,
            "problems": [_problem_json(problem) for problem in fetched.problems],
        },
        "mx": [asdict(mx) for mx in live.mx],
        "mx_error": live.mx_error,
        "reports": asdict(live.reports),
    }
