"""The reports of `mailward check --from-policy FILE --reports PATH`: read, and held against the policy."""

from collections.abc import Callable, Sequence

from mailward.core.check.rehearsal import Rehearsal, Rehearsed
from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.read import read_bytes
from mailward.net import clock
from mailward.net.files import walk

_MAX_COMPLAINTS = 10


def rehearse(
    paths: Sequence[str], domains: Sequence[Domain], policy: Policy, say: Callable[[str], None]
) -> dict[str, Rehearsed]:
    """By domain. Files that cannot be read are told, the first ones by name. Raises nothing for what is in them."""
    rehearsals = {domain: Rehearsal(domain, policy) for domain in domains}
    unreadable = 0
    for item in walk(paths):
        try:
            if item.content is None:
                raise Unreadable("not-readable", item.error or "it cannot be read")
            reading = read_bytes(item.content, name=item.name, now=clock.now())
        except Unreadable as error:
            unreadable += 1
            if unreadable <= _MAX_COMPLAINTS:
                say(f"{item.name}: {error.detail} ({error.code})")
            continue
        for rehearsal in rehearsals.values():
            for report in reading.reports:
                rehearsal.take(report)
    if unreadable > _MAX_COMPLAINTS:
        say(f"and {unreadable - _MAX_COMPLAINTS} more files that are no reports")
    return {domain: rehearsal.result() for domain, rehearsal in rehearsals.items()}
