"""What a stored report was counted as, worked out anew from the row: the daily tables keep sums only."""

import msgspec

from mailward.core.tlsrpt.routing import Address, route
from mailward.core.tlsrpt.schema import Report as WireReport
from mailward.store.models import Report
from mailward.store.packed import unpack
from mailward.store.services.incoming import OwnedShare, ShareDigest, digest_report


def booked_shares(report: Report) -> tuple[ShareDigest, ...]:
    """The report's own share, routed as when it came; empty where it is foreign."""
    domain, address_domain = report.domain, report.address_domain
    if domain is None:
        return ()
    wire = msgspec.json.decode(unpack(bytes(report.parsed)), type=WireReport)
    # the organisation's address: its other domains have rows of their own
    address = Address({domain.name}, address_domain.name if address_domain else None)
    owned = [
        OwnedShare(domain.pk, domain.name, share.policies)
        for share in route(wire, address, report.tls_report_domain or None)
        if share.domain == domain.name
    ]
    return digest_report(wire, b"", b"", b"", owned).shares
