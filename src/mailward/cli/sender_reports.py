"""`mailward sender reporter`, `reports` and `bounce`: the daily TLS reports about the mail that this Postfix sends."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config
from mailward.config import Settings, load_settings
from mailward.core.names import InvalidName, parse_domain
from mailward.core.tlsrpt.daily import make_report
from mailward.core.tlsrpt.write import serialise_report
from mailward.net import clock, log
from mailward.render.visible import make_visible
from mailward.sender import reporter
from mailward.sender.bounces import MAX_BOUNCE_BYTES, Bounce, read_bounce
from mailward.sender.counts import Counts, CountsError
from mailward.sender.dkimkeys import KeyFileError
from mailward.sender.letters import ContactUnusable, make_reporter
from mailward.sender.reportrows import Listed, State, StoreError
from mailward.sender.reportstore import ReportStore
from mailward.sender.transfer import show_time

app = typer.Typer(name="sender", no_args_is_help=True)

_TRY_AGAIN = 75  # EX_TEMPFAIL, sysexits.h
_RETRIED: tuple[State, ...] = (
    State.FAILED,
    State.BOUNCED,
    State.DROPPED,
    State.SUPPRESSED,
    State.WAITING,
)


@app.command(name="reporter")
def run_reporter(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end: for cron.")] = False,
    config: Config = None,
) -> None:
    """Make the reports of days that have ended and send them, until SIGTERM. `mailward sender run` starts it too."""
    settings = load_settings(config)
    log.configure("reporter", level=settings.log.level, format=settings.sender_log_format)
    try:
        asyncio.run(reporter.run(settings, once=once))
    except (ContactUnusable, KeyFileError, reporter.AnotherReporter, CountsError, StoreError) as error:
        raise Problem(str(error)) from error


@app.command()
def reports(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="Only reports about this domain.")] = "",
    day: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="Only reports of this UTC day.")] = "",
    state: Annotated[
        str, typer.Option(help="Only waiting, sending, delivered, failed, bounced, suppressed or dropped.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line; with --preview, the report.")
    ] = False,
    preview: Annotated[
        str, typer.Option(metavar="DOMAIN", help="Show what is counted for it today (or --day).")
    ] = "",
    retry: Annotated[
        str, typer.Option(metavar="DOMAIN", help="Send what failed or was dropped again, now.")
    ] = "",
    drop: Annotated[str, typer.Option(metavar="DOMAIN", help="Do not send what waits.")] = "",
    suppressed: Annotated[
        bool, typer.Option("--suppressed", help="List the ruas that nothing is sent to.")
    ] = False,
    unsuppress: Annotated[str, typer.Option(metavar="RUA", help="Send there again.")] = "",
    config: Config = None,
) -> None:
    """List the reports: where they go, what became of them and why; the last day first."""
    settings = load_settings(config)
    of_day = _read_day(day)
    if preview:
        _preview(settings, _read_domain(preview), of_day or clock.today(), as_json=as_json)
        return
    with _store(settings) as store:
        if retry or drop:
            _change(store, _read_domain(retry or drop), of_day, is_retry=bool(retry))
        elif unsuppress:
            if not store.unsuppress(unsuppress, _now()):
                raise Problem(f"{unsuppress} is not suppressed; --suppressed lists those that are.")
            typer.echo(f"Sent to again: {make_visible(unsuppress)}")
        elif suppressed:
            for each in store.suppressions(_now()):
                times = f"since {show_time(each.since)}\tuntil {show_time(each.until)}"
                typer.echo(f"{make_visible(each.rua)}\t{times}\t{make_visible(each.reason)}")
        else:
            _list(store, of_day, domain and _read_domain(domain), state, as_json=as_json)


@app.command()
def bounce(
    recipient: Annotated[
        str, typer.Argument(metavar="[RECIPIENT]", help="The address that the mail came back to.")
    ] = "",
    config: Config = None,
) -> None:
    """Take in report mail that came back, on standard input: for a pipe transport or an alias of your mail server."""
    settings = load_settings(config)
    found = read_bounce(sys.stdin.buffer.read(MAX_BOUNCE_BYTES), recipient)
    try:
        _take_in(settings, found)
    except Problem as error:  # the mail server must not lose it: it comes again
        typer.echo(f"mailward: {error}", err=True)
        raise typer.Exit(_TRY_AGAIN) from error


def _take_in(settings: Settings, found: Bounce) -> None:
    """Raises Problem."""
    with _store(settings) as store:
        delivery = store.find_token(found.tokens)
        if delivery is None or not found.is_failure or delivery.state != State.DELIVERED:
            typer.echo("No failure of a report that was delivered: nothing to do.")
            return
        store.finish(delivery, State.BOUNCED, found.reason)
        tlsrpt, now = settings.tlsrpt, _now()
        is_suppressed = store.suppress_if_bad(
            delivery, tlsrpt.suppress_after_days, now + tlsrpt.suppress_days * 86_400, now
        )
    typer.echo(f"Came back: {delivery.domain}, {delivery.day}, {make_visible(delivery.rua)}")
    if is_suppressed:
        typer.echo("Nothing is sent there for now: see mailward sender reports --suppressed")


def _preview(settings: Settings, domain: str, day: date, *, as_json: bool) -> None:
    try:
        counts = Counts(settings.tlsrpt_counts_path)
        counted = counts.read_domain(day, parse_domain(domain))
        counts.close()
        who = make_reporter(settings)
        if settings.tlsrpt_reports_path.exists():  # the id that will be sent
            with _store(settings) as store:
                who = replace(who, instance=store.instance())
        report = make_report(counted, who) if counted else None
    except (CountsError, ContactUnusable) as error:
        raise Problem(str(error)) from error
    if counted is None or report is None:
        raise Problem(f"Nothing is counted for {domain} on {day}.")
    if as_json:
        typer.echo(serialise_report(report).decode())
        return
    from rich.console import Console

    from mailward.core.tlsrpt.document import build_document
    from mailward.render.terminal import print_document

    print_document(build_document(report, [], domain=domain), Console(), name=f"{domain} on {day}")
    typer.echo(f"Would go to: {make_visible(counted.record)}")
    if counted.cut:
        typer.echo(f"Details of {counted.cut} failed sessions are put together: there are too many kinds.")


def _change(store: ReportStore, domain: str, day: date | None, *, is_retry: bool) -> None:
    states = _RETRIED if is_retry else (State.WAITING,)
    to = State.WAITING if is_retry else State.DROPPED
    count = store.change(domain, day, states, to, _now())
    if not count:
        raise Problem(
            f"There is nothing of {domain} that could be {'sent again' if is_retry else 'dropped'}."
        )
    typer.echo(f"{'Sent again' if is_retry else 'Dropped'}: {count}")


def _list(store: ReportStore, day: date | None, domain: str, state: str, *, as_json: bool) -> None:
    if state and state not in list(State):
        raise Problem(f"{state!r} is no state of a report: {', '.join(State)}.")
    is_empty = True
    for each in store.listing(day=day, domain=domain, states=[state] if state else ()):
        is_empty = False
        typer.echo(json.dumps(_as_dict(each)) if as_json else _row(each))
    if is_empty:
        # not on standard output, which programs read
        typer.echo(
            "No such report. The reports of a day are made after its end, in UTC;"
            " --preview DOMAIN shows what is counted for one so far.",
            err=True,
        )


def _row(listed: Listed) -> str:
    delivery = listed.delivery
    facts = [
        str(delivery.day),
        delivery.domain,
        delivery.rua or "-",
        delivery.state,
        f"{listed.successes} ok, {listed.failures} failed",
        f"{delivery.attempts} attempts" if delivery.attempts != 1 else "1 attempt",
    ]
    if delivery.state == State.WAITING:
        facts.append(f"next {show_time(delivery.next_at)}")
    elif delivery.tried_at:
        facts.append(f"at {show_time(delivery.tried_at)}")
    if delivery.is_repeat:
        facts.append("possibly repeated")
    if listed.cut:
        facts.append(f"details of {listed.cut} sessions put together")
    facts += [text for text in (delivery.outcome, listed.notes) if text]
    return "\t".join(make_visible(fact) for fact in facts)


def _as_dict(listed: Listed) -> dict[str, object]:
    delivery = listed.delivery
    return {
        "day": str(delivery.day),
        "domain": delivery.domain,
        "rua": delivery.rua,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at if delivery.state == State.WAITING else None,
        "tried_at": delivery.tried_at or None,
        "outcome": delivery.outcome,
        "possibly_repeated": bool(delivery.is_repeat),
        "report_id": listed.report_id,
        "token": delivery.token,
        "successes": listed.successes,
        "failures": listed.failures,
        "cut": listed.cut,
        "notes": listed.notes,
    }


@contextmanager
def _store(settings: Settings) -> Iterator[ReportStore]:
    path = settings.tlsrpt_reports_path
    if not Path(path).exists():
        raise Problem(f"There are no reports at {path} yet.")
    try:
        store = ReportStore(path)
        try:
            yield store
        finally:
            store.close()
    except StoreError as error:
        raise Problem(str(error)) from error


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise Problem(f"{text!r} is no day: write it as 2026-11-28.") from error


def _read_domain(text: str) -> str:
    try:
        return parse_domain(text)
    except InvalidName as error:
        raise Problem(str(error)) from error


def _now() -> int:
    return int(clock.now().timestamp())
