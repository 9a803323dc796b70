"""A list of domains from a file's bytes: CSV, or a zone file, which dnspython reads."""

from collections.abc import Iterator
from typing import Any

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile

from mailward.core.importing.listing import Listing, Refused, Unreadable, Wish
from mailward.core.importing.reading import gather, is_zone, read_csv, read_mx, read_text

MAX_RECORDS = 300_000
"""Of any type, in a zone file: they take some ten seconds."""


def read_listing(content: bytes, name: str = "", origin: str = "") -> Listing:
    """`name`: of the file; one that ends `.zone` or `.db`, or a text with `$ORIGIN` or an SOA record, is a zone file.
    `origin`: of a zone file that does not say it. Raises Unreadable.
    """
    text = read_text(content)
    return gather(_read_zone(text, origin) if is_zone(text, name) else read_csv(text))


class _Exchangers(dns.zonefile.RRsetsReaderTransaction):
    """Takes the MX records of a zone file, and counts the others: a zone of dnspython's has a gigabyte for 20 MiB of
    them, and the time for many records at one name grows with their square.
    """

    def __init__(self, origin: dns.name.Name | None) -> None:
        manager = dns.zonefile.RRSetsReaderManager(origin)
        super().__init__(manager, True, False)  # type: ignore[no-untyped-call]  # dnspython has no types here
        self.hosts: dict[dns.name.Name, dict[tuple[int, str], None]] = {}
        self._records = 0

    def add(self, *record: Any) -> None:  # noqa: ANN401 - as the library has it
        name, _ttl, data = record
        self._records += 1
        if self._records > MAX_RECORDS:
            raise Unreadable(f"it has more than {MAX_RECORDS:,} records")
        if data.rdtype == dns.rdatatype.MX:
            host = data.exchange.to_text(omit_final_dot=True)
            self.hosts.setdefault(name, {})[data.preference, host] = None


def _read_zone(text: str, origin: str) -> Iterator[Wish | Refused]:
    """Every name with MX records is a mail domain (RFC 5321 section 5.1)."""
    try:
        found = _Exchangers(dns.name.from_text(origin) if origin else None)
        reader = dns.zonefile.Reader(
            dns.tokenizer.Tokenizer(text),
            dns.rdataclass.IN,
            found,
            allow_include=False,
            # $GENERATE makes any number of records of one line
            allow_directives=("$ORIGIN", "$TTL"),
        )
        reader.read()
    except Unreadable:
        raise
    except dns.zonefile.UnknownOrigin:
        raise Unreadable("it does not say of which zone it is: name that as its origin") from None
    except (dns.exception.DNSException, ValueError) as error:
        raise Unreadable(f"it is no zone file that can be read: {error}"[:300]) from error
    for owner, hosts in found.hosts.items():
        name = owner.to_text(omit_final_dot=True)
        yield read_mx(name, [host for _, host in sorted(hosts)], str(owner))
