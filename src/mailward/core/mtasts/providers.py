"""Mail providers by their MX hosts, and the patterns that cover them: the one file of this knowledge.

An exact list of hosts is better wherever it fits (RFC 8461 section 10.4: a wide pattern lets more hosts take the mail).
So patterns stand here only for hosts whose names a provider gives to everybody, or for which its own documentation
has a wildcard. Where each customer has host names of their own there are none: the exact hosts are proposed.

`hosts`: `mx.example.net` is that name, `.example.net` any name below it. Only what is certain belongs here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailward.core.names import matches_mx


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    hosts: tuple[str, ...]
    """What tells it. All hosts of a domain must be among them."""
    patterns: tuple[str, ...] = ()
    """What covers all its hosts for any customer; empty: only the exact hosts."""
    note: str = ""

    def has(self, host: str) -> bool:
        return any(host.endswith(each) if each.startswith(".") else host == each for each in self.hosts)


_GOOGLE = ("aspmx.l.google.com", "*.aspmx.l.google.com")
_TENANT = "Each customer has host names of their own."

PROVIDERS: tuple[Provider, ...] = (
    Provider("Google Workspace", ("aspmx.l.google.com", ".aspmx.l.google.com"), _GOOGLE),
    Provider(
        "Google Workspace",
        ("aspmx.l.google.com", ".aspmx.l.google.com", ".googlemail.com"),
        (*_GOOGLE, "*.googlemail.com"),
    ),
    Provider("Google Workspace", ("smtp.google.com",), ("smtp.google.com",)),
    Provider(
        "Microsoft 365",
        (".mail.protection.outlook.com",),
        ("*.mail.protection.outlook.com",),
        "Microsoft's own documentation of MTA-STS has this wildcard.",
    ),
    Provider("Microsoft 365", (".mx.microsoft",), (), "One zone a tenant: only the exact host fits."),
    *(
        Provider("Zoho Mail", hosts, hosts)
        for hosts in (
            tuple(f"{label}.zoho.{top}" for label in ("mx", "mx2", "mx3"))
            for top in ("com", "eu", "in", "com.au", "jp")
        )
    ),
    Provider(
        "Fastmail",
        ("in1-smtp.messagingengine.com", "in2-smtp.messagingengine.com"),
        ("in1-smtp.messagingengine.com", "in2-smtp.messagingengine.com"),
    ),
    Provider(
        "Proton Mail",
        ("mail.protonmail.ch", "mailsec.protonmail.ch"),
        ("mail.protonmail.ch", "mailsec.protonmail.ch"),
    ),
    Provider(
        "iCloud Mail",
        ("mx01.mail.icloud.com", "mx02.mail.icloud.com"),
        ("mx01.mail.icloud.com", "mx02.mail.icloud.com"),
    ),
    Provider(
        "Migadu", ("aspmx1.migadu.com", "aspmx2.migadu.com"), ("aspmx1.migadu.com", "aspmx2.migadu.com")
    ),
    Provider(
        "mailbox.org",
        ("mxext1.mailbox.org", "mxext2.mailbox.org", "mxext3.mailbox.org"),
        ("mxext1.mailbox.org", "mxext2.mailbox.org", "mxext3.mailbox.org"),
    ),
    Provider("Infomaniak", ("mta-gw.infomaniak.ch",), ("mta-gw.infomaniak.ch",)),
    Provider(
        "Gandi",
        ("spool.mail.gandi.net", "fb.mail.gandi.net"),
        ("spool.mail.gandi.net", "fb.mail.gandi.net"),
    ),
    Provider("Yandex 360", ("mx.yandex.net",), ("mx.yandex.net",)),
    Provider(
        "Cloudflare Email Routing",
        ("route1.mx.cloudflare.net", "route2.mx.cloudflare.net", "route3.mx.cloudflare.net"),
        ("route1.mx.cloudflare.net", "route2.mx.cloudflare.net", "route3.mx.cloudflare.net"),
    ),
    Provider("Tuta", ("mail.tutanota.de",), ("mail.tutanota.de",)),
    Provider("OVHcloud", (".mail.ovh.net",)),
    Provider("IONOS", (".kundenserver.de", *(f".ionos.{top}" for top in ("com", "de", "co.uk", "fr", "es")))),
    Provider("Mimecast", (".mimecast.com", ".mimecast.co.za"), note=_TENANT),
    Provider("Proofpoint", (".pphosted.com", ".ppe-hosted.com"), note=_TENANT),
    Provider("Barracuda", (".barracudanetworks.com",), note=_TENANT),
    Provider("Cisco Secure Email", (".iphmx.com",), note=_TENANT),
    Provider("Hornetsecurity", (".hornetsecurity.com",), note=_TENANT),
    Provider(
        "Amazon SES",
        tuple(f"inbound-smtp.{region}.amazonaws.com" for region in ("us-east-1", "us-west-2", "eu-west-1")),
        note="The host belongs to the region that receives: only the exact host fits.",
    ),
)


def recognise(hosts: Sequence[str]) -> Provider | None:
    """The provider that all of these hosts belong to; the narrowest entry first."""
    if not hosts:
        return None
    lower = [host.lower().removesuffix(".") for host in hosts]
    return next((each for each in PROVIDERS if all(each.has(host) for host in lower)), None)


def known_patterns(host: str) -> tuple[str, ...]:
    """The provider's patterns that cover this host; empty: it is nobody's, or has a name of a customer's own."""
    provider = recognise([host])
    if provider is None:
        return ()
    return tuple(pattern for pattern in provider.patterns if matches_mx(pattern, host))
