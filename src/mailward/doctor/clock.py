"""The time: certificates, ids of policies and claims on work depend on it."""

from mailward.core.doctor.catalogue import tell
from mailward.core.watch.clockskew import judge_clock
from mailward.doctor.asking import NotAsked
from mailward.doctor.subject import Findings, Subject, good
from mailward.net import clock
from mailward.net.kernelclock import is_synchronised
from mailward.net.othersclocks import ask_clocks
from mailward.store.services.turns import MAX_SKEW, seconds_ahead

_STEP = "timedatectl set-ntp true, or install chrony; then: timedatectl"


async def look_at_clock(subject: Subject) -> Findings:
    synchronised, offsets = is_synchronised(), await ask_clocks(subject.settings)
    is_right, detail = judge_clock(offsets, is_synchronised=synchronised)
    shown = f"{clock.now():%Y-%m-%d %H:%M:%S} UTC"
    if not is_right:
        yield tell("clock-wrong", detail.rstrip("."), _STEP)
    elif not synchronised and not offsets:
        yield tell("clock-unwatched", f"{shown}; {_lower(detail)}", _STEP)
    else:
        hosts = f", and {len(offsets)} hosts elsewhere agree" if offsets else ""
        yield good(f"{shown}{', kept in step by the kernel' if synchronised else ''}{hosts}")
    if subject.settings.database.name:
        try:
            ahead = await subject.ask(seconds_ahead)
        except NotAsked:
            return
        if abs(ahead) > MAX_SKEW.total_seconds():
            text = (
                f"this machine's clock is {ahead:+.1f} seconds from the database's: this node takes no work"
            )
            yield tell("clock-differs", text, _STEP)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
