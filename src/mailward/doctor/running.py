"""Does it run, all of it, since when, and does the database fit the version?"""

from collections.abc import Iterable
from datetime import timedelta

import mailward
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.process import Running, read_running
from mailward.doctor.standing import Standing, SupervisorSilent, ask_standing
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net import clock
from mailward.store.queries.engine import schema

_STEADY = timedelta(minutes=2)
"""A service that began so much later than the whole was started again."""
_LATELY = timedelta(minutes=15)
_WHY = "read why it ends: journalctl -u mailward"
SERVICES = ("policy-host", "doors", "console", "worker")


async def look_at_running(subject: Subject) -> Findings:
    settings = subject.settings
    try:
        running = read_running(settings.data_path)
    except PermissionError:
        yield unseen(
            f"this user may not look into {settings.data_path}", "run it as the user of Mailward, or as root"
        )
        return
    if running is None:
        text = f"Mailward does not run on {settings.data_path}"
        yield tell("not-running", text, "systemctl start mailward, or: mailward serve")
    else:
        yield _tell_process(running)
        standing, silence = await _ask(subject)
        for finding in _services(subject, running, standing):
            yield finding
        for finding in (*silence, *_hanging(standing)):
            yield finding
    state = await subject.ask(schema)
    if state.unknown:
        text = f"the database was changed by a newer Mailward ({state.unknown[-1]})"
        yield tell("schema-newer", text, "start the version that made it, or restore the backup from before")
    elif state.missing and running is not None and running.is_starting:
        yield unseen("it has just been started, and is changing the tables of the database")
    elif state.is_empty and not settings.database.name:
        # where they were lost, the check of the database tells it
        yield unseen("the database has no tables: a start makes them")
    elif state.missing:
        text = f"the database lacks changes of this version, up to {state.missing[-1]}"
        yield tell("schema-older", text, "restart Mailward, which makes them: systemctl restart mailward")
    else:
        yield good(f"the tables are those of version {mailward.__version__}")


def _tell_process(running: Running) -> Finding:
    since = f" since {running.since:%Y-%m-%d %H:%M} UTC" if running.since else ""
    if running.version and running.version != mailward.__version__:
        text = f"version {running.version} runs{since}, and this command is {mailward.__version__}"
        return tell("other-version", text, "systemctl restart mailward")
    return good(f"runs{since}, process {running.pid}, version {mailward.__version__}")


async def _ask(subject: Subject) -> tuple[tuple[Standing, ...], list[Finding]]:
    """What the supervisor finds of its services, or what is to be told of itself."""
    try:
        return await ask_standing(subject.settings.data_path), []
    except PermissionError:
        return (), []
    except SupervisorSilent:
        text = "the supervisor does not answer, so that a service that ends is not started again"
        return (), [tell("service-hangs", text, "systemctl restart mailward")]


def _hanging(standing: Iterable[Standing]) -> list[Finding]:
    """A service that hangs runs, and its port takes connections all the same."""
    return [
        tell(
            "service-hangs",
            f"{each.name} hangs: no sign of life for {each.silent_seconds} s",
            "after two minutes it is started again; read what it did: journalctl -u mailward",
        )
        for each in standing
        if each.silent_seconds
    ]


def _services(subject: Subject, running: Running, standing: Iterable[Standing]) -> list[Finding]:
    failing = {each.name: each.ends for each in standing if each.ends > 1 and not each.serves}
    if not failing and running.is_starting and not running.services:
        return [unseen("it has just been started: its services are on their way")]
    if not failing and not running.services:
        return []  # of another container, or of another user
    found = {each.name: each for each in running.services}
    wanted = (*SERVICES, *(["nameserver"] if subject.settings.nameserver.zone else []))
    findings = []
    for name in wanted:
        process = found.get(name)
        if name in failing:
            text = f"{name} ended {failing[name]} times in a row, soon after each start"
            findings.append(tell("service-missing", text, _WHY))
        elif process is None and running.is_starting:
            findings.append(unseen(f"{name} is on its way"))
        elif process is None:
            findings.append(tell("service-missing", f"{name} does not run at this moment", _WHY))
        elif (
            running.since
            and process.since - running.since > _STEADY
            and clock.now() - process.since < _LATELY
        ):
            text = f"{name} was started again at {process.since:%H:%M:%S} UTC"
            findings.append(tell("service-restarted", text, "read why it ended: journalctl -u mailward"))
    if not findings:
        findings.append(good(f"{', '.join(wanted)}: all run"))
    return findings
