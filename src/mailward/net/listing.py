"""A list of domains from a file's bytes: CSV, or a zone file, which dnspython reads."""

from collections.abc import Iterator

import dns.exception
import dns.name
import dns.rdatatype
import dns.zone

from mailward.core.importing.listing import Listing, Refused, Unreadable, Wish
from mailward.core.importing.reading import gather, is_zone, read_csv, read_mx, read_text


def read_listing(content: bytes, name: str = "", origin: str = "") -> Listing:
    """`name`: of the file; one that ends `.zone` or `.db`, or a text with `$ORIGIN` or an SOA record, is a zone file.
    `origin`: of a zone file that does not say it. Raises Unreadable.
    """
    text = read_text(content)
    return gather(_read_zone(text, origin) if is_zone(text, name) else read_csv(text))


def _read_zone(text: str, origin: str) -> Iterator[Wish | Refused]:
    """Every name with MX records is a mail domain (RFC 5321 section 5.1)."""
    try:
        zone = dns.zone.from_text(
            text,
            origin=dns.name.from_text(origin) if origin else None,
            relativize=False,
            check_origin=False,
            allow_include=False,
            # $GENERATE makes any number of records of one line
            allow_directives=("$ORIGIN", "$TTL"),
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise Unreadable(f"it is no zone file that can be read: {error}"[:300]) from error
    for owner, rdataset in zone.iterate_rdatasets(dns.rdatatype.MX):
        hosts = [(each.preference, each.exchange.to_text(omit_final_dot=True)) for each in rdataset]
        yield read_mx(owner.to_text(omit_final_dot=True), [host for _, host in sorted(hosts)], str(owner))
