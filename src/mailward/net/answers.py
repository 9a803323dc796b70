"""What DNS said, as values, read from the messages of servers that may be hostile."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Generic, TypeVar, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import msgspec

T = TypeVar("T")

MAX_CHAIN = 8  # CNAMEs followed; longer chains are mistakes or attacks
MAX_RECORDS = 500  # of one answer


class Status(StrEnum):
    FOUND = "found"
    NODATA = "nodata"
    """The name exists, but has no such record."""
    NXDOMAIN = "nxdomain"
    FAILED = "failed"
    """Could not be asked, or no usable answer; `reason` says why."""


class Answer(msgspec.Struct, Generic[T], frozen=True):
    # not a dataclass: by the hundred thousand, a frozen one takes ten times as long to make

    status: Status
    records: tuple[T, ...] = ()
    """TXT: bytes, the character-strings joined. Others: zone file text; names in lower case, no final dot."""
    authenticated: bool = False
    """The resolver says that DNSSEC proved it (AD bit). Worth as much as the path to the resolver."""
    ttl: int = 0
    chain: tuple[str, ...] = ()
    """The names that CNAMEs led to, in order."""
    reason: str = ""
    signed: tuple[int, int] | None = None
    """Since when and until when a signature proves it, in seconds since 1970: of several the one that lasts longest.
    None: there is none, or none was asked for.
    """
    is_out_of_reach: bool = False
    """With `failed`: nobody was asked, since this machine has no way to the server. Silence is never this."""

    @property
    def found(self) -> bool:
        return self.status is Status.FOUND


def read_answer(
    response: dns.message.Message, name: dns.name.Name, rdtype: str, zone: dns.name.Name | None = None
) -> Answer[str] | Answer[bytes]:
    """What the response says about the name; what it says about names outside of `zone` is not believed."""
    kind = dns.rdatatype.from_text(rdtype)
    chain: list[str] = []
    ttl = 2**31
    authenticated = bool(response.flags & dns.flags.AD)
    while len(chain) <= MAX_CHAIN and (zone is None or name.is_subdomain(zone)):
        found = _rrset(response, name, kind)
        if found is not None:
            ttl = min(ttl, found.ttl)
            records = tuple(_present(rdata) for rdata in list(found)[:MAX_RECORDS])
            answer = Answer(Status.FOUND, records, authenticated, ttl, tuple(chain))
            return cast("Answer[str] | Answer[bytes]", answer)  # one type of record gives one type of text
        alias = _rrset(response, name, dns.rdatatype.CNAME)
        if alias is None:
            break
        ttl = min(ttl, alias.ttl)
        name = dns.name.from_text(str(_present(alias[0])))
        chain.append(name_text(name))
    if len(chain) > MAX_CHAIN:
        return Answer(
            Status.FAILED, chain=tuple(chain), reason=f"more than {MAX_CHAIN} CNAMEs, or a loop of them"
        )
    status = Status.NXDOMAIN if response.rcode() == dns.rcode.NXDOMAIN else Status.NODATA
    return Answer(status, (), authenticated, _negative_ttl(response), tuple(chain))


def read_signed(response: dns.message.Message, name: dns.name.Name, rdtype: str) -> tuple[int, int] | None:
    """`Answer.signed`. Any one signature that is valid is enough (RFC 4035 section 5.3.3)."""
    kind = dns.rdatatype.from_text(rdtype)
    times = [
        (rdata.expiration, rdata.inception)
        for rrset in response.answer
        if rrset.name == name and rrset.rdtype == dns.rdatatype.RRSIG and rrset.covers == kind
        for rdata in list(rrset)[:MAX_RECORDS]
    ]
    if not times:
        return None
    end, since = max(times)
    return since, end


def merge_addresses(four: Answer[str], six: Answer[str]) -> Answer[str]:
    if not four.found and not six.found:
        return four if six.status in (Status.NODATA, Status.NXDOMAIN) else six
    records = tuple(
        address for pair in transpose([list(six.records), list(four.records)]) for address in pair
    )
    first = four if four.found else six
    # one family found and the other unknown is worth using, and worth saying
    reason = "; ".join(answer.reason for answer in (four, six) if answer.status is Status.FAILED)
    authenticated = all(answer.authenticated for answer in (four, six) if answer.found)
    return msgspec.structs.replace(first, records=records, authenticated=authenticated, reason=reason)


def transpose(rows: Sequence[Sequence[T]]) -> list[list[T]]:
    longest = max((len(row) for row in rows), default=0)
    return [[row[index] for row in rows if index < len(row)] for index in range(longest)]


def name_text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _rrset(
    response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    for rrset in response.answer:
        if rrset.name == name and rrset.rdtype == kind and len(rrset):
            return rrset
    return None


def _present(rdata: dns.rdata.Rdata) -> str | bytes:
    strings = getattr(rdata, "strings", None)
    if strings is not None and rdata.rdtype == dns.rdatatype.TXT:
        return b"".join(strings)
    text = rdata.to_text()
    if rdata.rdtype in (dns.rdatatype.CNAME, dns.rdatatype.MX, dns.rdatatype.NS, dns.rdatatype.PTR):
        return text.lower() if text.endswith(" .") else text.lower().removesuffix(".")
    return text


def _negative_ttl(response: dns.message.Message) -> int:
    """RFC 2308 section 5; without a SOA a negative answer is not kept."""
    for rrset in response.authority:
        if rrset.rdtype == dns.rdatatype.SOA and len(rrset):
            return min(rrset.ttl, int(rrset[0].to_text().rpartition(" ")[2]))
    return 0
