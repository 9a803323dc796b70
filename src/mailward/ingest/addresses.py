"""Whose report address is it: from the token that we gave out to a domain or an organisation."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import Error as DatabaseError

from mailward.ingest.errors import StoreBusy
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain, Organisation

MAX_TOKEN = 64
_KNOWN_SECONDS = 10.0
_UNKNOWN_SECONDS = 5.0  # a stranger's guesses must not cost a query each, and a new address must work soon
_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """What a report came to."""

    organisation_id: int
    domain_id: int | None
    """None: the organisation's address, which routes by policy domain among its domains."""
    domain_name: str | None
    owned: Mapping[str, int]
    """The domains that a report can be about here: name -> id."""
    token: str = ""
    """Local part of its mail address."""


def address_of_token(token: str) -> ReportAddress | None:
    """The address with this local part or path token; None: not one of ours."""
    if not 0 < len(token) <= MAX_TOKEN:
        return None
    domain = Domain.objects.filter(report_token=token).first()
    if domain is not None:
        return address_of_domain(domain)
    organisation_id = Organisation.objects.filter(report_token=token).values_list("id", flat=True).first()
    return None if organisation_id is None else address_of_organisation(organisation_id)


def address_of_domain(domain: Domain) -> ReportAddress:
    owned = {domain.name: domain.pk}
    return ReportAddress(domain.organisation_id, domain.pk, domain.name, owned, domain.report_token)


def address_of_organisation(organisation_id: int) -> ReportAddress:
    names = Domain.objects.filter(organisation_id=organisation_id).values_list("name", "id")
    token = Organisation.objects.filter(pk=organisation_id).values_list("report_token", flat=True).first()
    return ReportAddress(organisation_id, None, None, dict(names), token or "")


def count_domains(organisation_id: int) -> int:
    return Domain.objects.filter(organisation_id=organisation_id).count()


class AddressBook:
    """Finds addresses for the doors: off the event loop, and remembered for some seconds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, ReportAddress | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[ReportAddress | None]] = {}
        """One question for all who come with a token meanwhile: the answer may name 100,000 domains."""

    async def find(self, token: str) -> ReportAddress | None:
        """None: no such address. Raises StoreBusy where the database cannot say."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            return None
        # the tokens that we give out are in lower case, and some senders change the case of local parts
        token = token.lower()
        kept = self._kept.get(token)
        if kept is not None and kept[0] > clock.monotonic():
            return kept[1]
        asking = self._asking.get(token)
        if asking is None:
            asking = self._asking[token] = asyncio.create_task(self._ask(token))
            asking.add_done_callback(lambda done: self._forget(token, done))
        try:
            # whoever leaves leaves the others their answer
            return await asyncio.shield(asking)
        except DatabaseError as error:
            raise StoreBusy(str(error)) from error

    def _forget(self, token: str, done: "asyncio.Task[ReportAddress | None]") -> None:
        del self._asking[token]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone: that an error finds nobody is no mistake

    async def _ask(self, token: str) -> ReportAddress | None:
        address = await in_store(address_of_token, token)
        seconds = _UNKNOWN_SECONDS if address is None else _KNOWN_SECONDS
        self._kept[token] = (clock.monotonic() + seconds, address)
        self._kept.move_to_end(token)
        if len(self._kept) > _MAX_CACHED:
            self._kept.popitem(last=False)
        return address
