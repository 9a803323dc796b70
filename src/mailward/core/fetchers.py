"""Who says that they fetch policies: names for `User-Agent` fields and for reverse names of addresses.

Both are claims: anybody may call themselves Google. What is counted under a name here is evidence that somebody fetched
under that name, never proof of who it was.
"""

import re
from dataclasses import dataclass

_PRODUCT = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,60}")
"""RFC 9110 section 10.1.5: a token, before the slash of its version."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    slug: str
    title: str
    products: tuple[str, ...] = ()
    """First products of their User-Agent, in lower case."""
    reverse: tuple[str, ...] = ()
    """Domains that the reverse names of their addresses are in."""
    sends_mail: bool = True
    """False for what mostly looks and delivers nothing."""


FETCHERS = (
    Fetcher("google", "Google", ("google-smtp-sts",), ("google.com", "1e100.net")),
    Fetcher("microsoft", "Microsoft", (), ("outlook.com", "microsoft.com", "office365.com")),
    Fetcher("yahoo", "Yahoo", (), ("yahoo.com", "yahoo.net", "yahoodns.net")),
    Fetcher("apple", "Apple", (), ("apple.com", "icloud.com")),
    Fetcher("comcast", "Comcast", (), ("comcast.net",)),
    Fetcher("gmx", "GMX and WEB.DE", (), ("gmx.net", "web.de", "1and1.com", "ui-dns.net")),
    Fetcher("mailru", "Mail.ru", (), ("mail.ru",)),
    Fetcher("fastmail", "Fastmail", (), ("fastmail.com", "messagingengine.com")),
    Fetcher("proton", "Proton", (), ("proton.me", "protonmail.ch")),
    Fetcher("zoho", "Zoho", (), ("zoho.com", "zoho.eu", "zohomail.com")),
    Fetcher("cisco", "Cisco", (), ("iphmx.com", "cisco.com")),
    Fetcher("mimecast", "Mimecast", (), ("mimecast.com",)),
    Fetcher("proofpoint", "Proofpoint", (), ("pphosted.com", "proofpoint.com")),
    Fetcher("postfix-mta-sts-resolver", "postfix-mta-sts-resolver", ("postfix-mta-sts-resolver",)),
    Fetcher("postfix-tlspol", "postfix-tlspol", ("postfix-tlspol",)),
    Fetcher("mox", "mox", ("mox",)),
    Fetcher("maddy", "maddy", ("maddy",)),
    Fetcher("stalwart", "Stalwart", ("stalwart",)),
    # our own checks look from outside many times a day: no evidence of anybody
    Fetcher("mailward", "Mailward", ("mailward",), sends_mail=False),
    Fetcher("curl", "curl", ("curl",), sends_mail=False),
    Fetcher("browser", "Web browsers", ("mozilla",), sends_mail=False),
    Fetcher("checkdmarc", "checkdmarc", ("checkdmarc",), sends_mail=False),
)
_BY_SLUG = {fetcher.slug: fetcher for fetcher in FETCHERS}
_BY_PRODUCT = {product: fetcher.slug for fetcher in FETCHERS for product in fetcher.products}
_BY_DOMAIN = {domain: fetcher.slug for fetcher in FETCHERS for domain in fetcher.reverse}


def read_user_agent(user_agent: str) -> tuple[str, str]:
    """The slug of who fetches by that name (empty: unknown) and the first product, in lower case (empty: none)."""
    match = _PRODUCT.match(user_agent)
    product = match.group().lower() if match else ""
    return _BY_PRODUCT.get(product, ""), product


def fetcher_by_reverse_name(name: str) -> str:
    """The slug of whose address has this reverse name; empty: unknown."""
    labels = name.lower().rstrip(".").split(".")
    return next((slug for n in range(len(labels)) if (slug := _BY_DOMAIN.get(".".join(labels[n:])))), "")


def find_fetcher(slug: str) -> Fetcher | None:
    return _BY_SLUG.get(slug)


def sends_mail(slug: str) -> bool:
    """Whether one of this name delivers mail: an unknown one may."""
    fetcher = _BY_SLUG.get(slug)
    return fetcher is None or fetcher.sends_mail
