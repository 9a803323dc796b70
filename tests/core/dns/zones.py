"""A zone that has each kind of name."""

from mailward.core.dns.wire import Type
from mailward.core.dns.zone import Authority, Record, Soa, Zone, make_zone

SOA = Soa("ns1.sts.example", "host.master@sts.example", serial=7)
RECORDS = (
    Record("sts.example", Type.NS, "ns1.sts.example"),
    Record("sts.example", Type.NS, "ns2.elsewhere.example."),
    Record("ns1.sts.example", Type.A, "192.0.2.1"),
    Record("ns1.sts.example", Type.AAAA, "2001:db8::1"),
    Record("policy.sts.example", Type.CNAME, "ns1.sts.example"),
    Record("twice.sts.example", Type.CNAME, "policy.sts.example"),
    Record("away.sts.example", Type.CNAME, "web.elsewhere.example"),
    Record("_mta-sts.abc.sts.example", Type.TXT, "v=STSv1; id=1;"),
    Record("_tlsrpt.abc.sts.example", Type.TXT, "v=TLSRPTv1; rua=mailto:abc@reports.example"),
    Record("long.sts.example", Type.TXT, "x" * 300),
    *(Record("many.sts.example", Type.TXT, f"{number} " + "y" * 200) for number in range(10)),
)


def sample_zone() -> Zone:
    return make_zone("sts.example", SOA, RECORDS)


def sample_authority() -> Authority:
    below = Soa("ns1.sts.example", "hostmaster@sts.example", serial=3)
    return Authority([make_zone("mta-sts.customer.example", below, ()), sample_zone()])
