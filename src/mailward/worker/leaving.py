"""Leaving MTA-STS, step by step: what comes by itself is done, what the customer must do is looked for."""

import logging
from collections.abc import Sequence
from typing import Literal

from mailward.config import Settings
from mailward.core.mtasts.leaving import Stage
from mailward.monitor.elsewhere import NOBODYS_LABEL
from mailward.net.resolver import Answer, Kind, Status, make_resolver, of_those_in_reach
from mailward.notify import leavingletters
from mailward.store.aio import in_store
from mailward.store.services import leaving
from mailward.store.services.dnsupdates import zone_of

_log = logging.getLogger(__name__)
_TEXTS: Sequence[Kind | Literal["TXT"]] = ("TXT", "CNAME")
_ADDRESSES: Sequence[Kind] = ("A", "AAAA", "CNAME")


async def leave_domain(settings: Settings, domain_id: int) -> None:
    """One look at the plan of a domain. Nothing of it fails: what is not so yet is looked at again in time."""
    found = await in_store(leaving.advance, domain_id)
    if found is None:
        return
    row, plan = found
    if plan.stage is not Stage.REMOVE:
        return
    name = row.domain.name
    is_kept_up = await in_store(zone_of, row.domain) is not None
    subject, lines = leavingletters.records_may_go(name, is_kept_up=is_kept_up)
    await in_store(leaving.tell, row.pk, subject, lines, f"/domains/{name}/policy/leave/")
    await in_store(leaving.note_records, row.pk, await _still_there(settings, name))


async def _still_there(settings: Settings, name: str) -> str:
    """Which records some authoritative server still has, or cannot be asked for; empty: all are gone everywhere.

    Those that this machine can never ask are not waited for, where it can ask others. What a wildcard says of every
    name is no record of this one, and stays.
    """
    resolver = make_resolver(settings.dns)
    there, left_out = list[str](), set[str]()
    for label, kinds in (("_mta-sts", _TEXTS), ("mta-sts", _ADDRESSES)):
        for kind in kinds:
            everywhere = await resolver.lookup_everywhere(f"{label}.{name}", kind)
            answers = of_those_in_reach(everywhere)
            left_out |= everywhere.keys() - answers.keys()
            has_some = any(_says(answer) for answer in answers.values())
            nobodys = await resolver.lookup_everywhere(f"{NOBODYS_LABEL}.{name}", kind) if has_some else {}
            for place, answer in answers.items():
                if answer.status is Status.FAILED:
                    there.append(f"{label}.{name} {kind}: {answer.reason}")
                elif (said := _says(answer)) and (place not in nobodys or said != _says(nobodys[place])):
                    there.append(f"{place} has {label}.{name} {kind}")
    if left_out:
        extra = {"domain": name, "servers": ", ".join(sorted(left_out))}
        _log.info("name-servers-out-of-reach", extra=extra)
    return "; ".join(dict.fromkeys(there))


def _says(answer: Answer[str] | Answer[bytes]) -> frozenset[str | bytes]:
    """Its records, and where aliases lead; empty: nothing is there."""
    return frozenset((*(answer.records if answer.found else ()), *answer.chain))
