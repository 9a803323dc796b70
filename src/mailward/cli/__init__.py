"""The command line. Each command is a module that is imported only when its command is chosen.

So `mailward report show` and `mailward policy lint` work on an install without Django, and start at once. A
command of ours is one line in `COMMANDS`; its module has a typer application `app`. What a person can mend is
said in one sentence on standard error, with exit status 2.

    mailward serve
    mailward report show report.json.gz
    mailward policy show example.org
"""

import gc
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Command:
    module: str
    """Below mailward.cli; has the typer application `app`."""
    summary: str
    is_group: bool = False
    """Whether `app` takes the last word of the command itself, as one of several."""
    is_brief: bool = False
    """Whether it ends within a second. Garbage is not collected then: looking for it among all that modules make, and
    keep, was a fifth of the time."""


COMMANDS = {
    "serve": Command("serve", "Run the platform: console, report doors, policy host and worker."),
    "report show": Command("report", "Print TLS reports as readable documents.", is_group=True),
    "report import": Command("report_import", "Take report files into the platform."),
    "policy lint": Command("policy", "Tell everything that is wrong with a policy file.", is_group=True),
    "policy show": Command("policy", "Fetch and explain the policy of a live domain.", is_group=True),
    "policy set": Command("policy", "Publish the policy of a domain of this installation.", is_group=True),
    "domains records": Command(
        "domain_records", "Print the records that domains should publish.", is_group=True
    ),
    "check": Command("check", "Tell what senders see at a domain, and what they do."),
    "survey": Command("survey", "Check many domains, and tell what they add up to."),
    "domains add": Command("domain_import", "Add domains by name, from the terminal.", is_group=True),
    "domains update-dns": Command(
        "domain_updates", "Keep a domain's records at its own DNS server, now.", is_group=True
    ),
    "domains import": Command(
        "domain_import", "Add the domains of a CSV file, zone file or PowerDNS server.", is_group=True
    ),
    "user list": Command("user", "List who has an account, and with which role.", is_group=True),
    "user link": Command("user", "Print a one-time link to set a new password.", is_group=True),
    "status": Command("status", "Tell at one glance how the installation stands.", is_brief=True),
    "health": Command(
        "health", "Tell whether every process is ready: a container's health check.", is_brief=True
    ),
    "doctor": Command("doctor", "Find what is wrong with the installation, and what exactly to change."),
    "certificates": Command("certificates", "Tell how the certificates of all domains stand."),
    "backup": Command("backup", "Write everything of this installation into one file, while it runs."),
    "backup verify": Command("backup_verify", "Read a backup, and tell what it holds.", is_group=True),
    "backup key": Command("backup_verify", "Print a new pair of keys to seal backups with.", is_group=True),
    "restore": Command("restore", "Bring a backup back into an empty data folder."),
    "database copy": Command("database", "Copy everything from SQLite to PostgreSQL.", is_group=True),
    "database migrate": Command(
        "database", "Change the tables to those of this release, or try it on a copy.", is_group=True
    ),
    "key new": Command("key", "Print a new key to seal private keys with.", is_group=True),
    "key forget": Command("key", "Remove what no key opens any more.", is_group=True),
    "key rotate": Command("key", "Seal all private keys anew, with a new key.", is_group=True),
    "sender run": Command("sender", "Answer Postfix: the policy server of the sending side.", is_group=True),
    "sender explain": Command(
        "sender", "Tell what Postfix is answered about a domain, and why.", is_group=True
    ),
    "sender list": Command("sender", "List the learned policies.", is_group=True),
    "sender purge": Command("sender", "Forget learned policies, in running daemons too.", is_group=True),
    "sender export": Command("sender_transfer", "Print the learned policies as JSON lines.", is_group=True),
    "sender import": Command("sender_transfer", "Take over exported policies.", is_group=True),
    "sender shadow": Command("sender_shadow", "List what shadow mode would have enforced or deferred."),
    "sender replay": Command("sender_replay", "Tell what the destinations of a mail log would have met."),
    "sender doctor": Command("sender_doctor", "Find what keeps Postfix and the policy server apart."),
    "sender reporter": Command("sender_reports", "Make and send the daily TLS reports.", is_group=True),
    "sender reports": Command(
        "sender_reports", "List the TLS reports and what became of them.", is_group=True
    ),
    "sender bounce": Command("sender_reports", "Take in report mail that came back.", is_group=True),
    "sender key": Command("sender_key", "Make the key that signs report mail."),
    "lab": Command("lab", "Attack mail between real servers, and show how MTA-STS and DANE stop it."),
    "completion": Command("completion", "Print what makes bash, zsh or fish complete these commands."),
    "version": Command("version", "Print the version."),
}
# children of `serve`: not listed
_HIDDEN = {
    name: Command("children", "", is_group=True)
    for name in ("_look-behind", "_prepare", "_console", "_doors", "_policy-host", "_nameserver", "_worker")
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name, and exit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in ("--version", "-V"):
        arguments[0] = "version"
    sys.exit(_dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    words = [word for word in arguments[:2] if not word.startswith("-")]
    for count in (2, 1):
        name = " ".join(words[:count])
        command = COMMANDS.get(name) or _HIDDEN.get(name)
        if command is not None and arguments[:count] == words[:count]:
            return _run(name, command, arguments[count:])
    group = words[0] if words else ""
    listed = {name: command for name, command in COMMANDS.items() if name.split()[:1] == [group] or not group}
    if not listed or len(words) > 1:
        return _complain(f"There is no command {' '.join(words)!r}. See: mailward --help")
    asked = not arguments[len(words) :] or arguments[-1] in ("--help", "-h")
    _list(group, listed)
    return 0 if asked and arguments else EXIT_USAGE


def _run(name: str, command: Command, arguments: list[str]) -> int:
    group, _, last = name.rpartition(" ")
    words = [last, *arguments] if command.is_group else arguments
    prog = f"mailward {group if command.is_group else name}".rstrip()
    if command.is_brief:
        gc.disable()
    from mailward.cli.problem import Problem
    from mailward.config import SettingsError

    try:
        module = importlib.import_module(f"mailward.cli.{command.module}")
        # Django may be missed only now: commands import it when they know that they need it
        status = module.app(words, prog_name=prog, standalone_mode=True)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "mailward":
            raise
        need = f"This command needs the platform ({error.name} is missing)"
        return _complain(f"{need}: pip install 'mailward[platform]'")
    except (SettingsError, Problem) as error:
        return _complain(str(error))
    return status if isinstance(status, int) else 0


def _complain(sentence: str) -> int:
    sys.stderr.write(f"mailward: {sentence}\n")
    return EXIT_USAGE


def _list(group: str, commands: dict[str, Command]) -> None:
    width = max(len(name) for name in commands) + 2
    lines = [f"Usage: mailward {group or 'COMMAND'} ...", ""]
    lines += [f"  {name:<{width}}{command.summary}" for name, command in commands.items()]
    lines += ["", "mailward COMMAND --help tells more about each."]
    sys.stdout.write("\n".join(lines) + "\n")
