"""The settings of certificates: which CAs, and how they reach us. Read by mailward.config with all others."""

import re
from collections import Counter
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from mailward.core.addresses import parse_address
from mailward.core.names import InvalidName, parse_domain
from mailward.core.places import check_listen, check_networks, check_url

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_MAX_LABEL = 120
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}", re.ASCII)


class AcmeDirectory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One certificate authority (RFC 8555). To name it is to agree to its terms of service."""

    url: str
    contact: str = ""
    """A mail address that the CA may write to."""
    profile: str = ""
    """Of the certificates, as the CA's directory names them; empty: the CA's own choice."""
    eab_kid: str = ""
    """External account binding: the key identifier that the CA gave."""
    eab_hmac_key: str = ""
    """And its key, base64url."""
    caa_identities: tuple[str, ...] = ()
    """The CA's domains in CAA records; empty: as its directory says."""
    orders_per_3_hours: Positive = 300
    ca_file: str = ""
    """Certificate authorities (PEM) that the directory's own certificate comes from; empty: the usual ones."""

    def __post_init__(self) -> None:
        check_url(self.url, "https")  # RFC 8555 §6.1
        if self.contact:
            parse_address(self.contact)
        for text in self.caa_identities:
            parse_domain(text, allow_single=True)
        if bool(self.eab_kid) != bool(self.eab_hmac_key):
            raise ValueError("eab_kid and eab_hmac_key go together")
        if not _BASE64URL.fullmatch(self.eab_hmac_key):
            raise ValueError("eab_hmac_key is not in base64url")


class Acme(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Certificates that renew themselves."""

    directories: tuple[str | AcmeDirectory, ...] = ()
    """The URLs of CAs' directories, in the order in which they are asked; none: no certificates are ordered."""
    http_listen: tuple[str, ...] = ()
    """Where HTTP-01 is answered; empty: where the policy host listens."""
    http_port: Port = 0
    """0 means 80 as root and 8080 otherwise. CAs ask at port 80 alone."""
    http_proxies: tuple[str, ...] = ()
    """Addresses or networks of TCP proxies in front of it, which begin each connection with a PROXY header."""
    own_challenge: Literal["", "http-01", "dns-01"] = ""
    """How the installation's own names are proved; empty: by HTTP-01 where they lead to us, else by DNS-01 where our
    nameserver answers for the challenge.
    """
    reach_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 80
    """Where we look, as a CA does, whether a name leads to us; another one only in laboratories."""

    def __post_init__(self) -> None:
        check_listen("http_listen", self.http_listen)
        check_networks("http_proxies", self.http_proxies)
        for each in self.directories:
            try:
                check_url(each if isinstance(each, str) else each.url, "https")
            except ValueError as error:
                raise ValueError(f"directories: {error}") from error

    @property
    def authorities(self) -> tuple[AcmeDirectory, ...]:
        return tuple(AcmeDirectory(url=each) if isinstance(each, str) else each for each in self.directories)

    @property
    def labels(self) -> dict[str, str]:
        """URL of a directory -> what metrics call the CA: its host, with port and path where several have that.

        No more than there are directories, and nothing of a URL that may be secret (user, query).
        """
        urls = tuple(dict.fromkeys(each.url for each in self.authorities))
        hosts = {url: _host(url) for url in urls}
        shared = {host for host, count in Counter(hosts.values()).items() if count > 1}
        labels: dict[str, str] = {}
        for url in urls:
            label = _place(url)[:_MAX_LABEL] if hosts[url] in shared else hosts[url]
            # two that differ beyond that, or in their query alone
            labels[url] = label if label not in labels.values() else f"{label}#{len(labels) + 1}"
        return labels


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2].lower()}{parts.path}"


def public_names(*texts: str) -> tuple[str, ...]:
    """Those that a CA may issue for, each once, in lower case: no address, and not `localhost`."""
    names = []
    for text in texts:
        try:
            name = parse_domain(text)
        except InvalidName:
            continue
        if name.rpartition(".")[2] != "localhost":  # RFC 6761 §6.3
            names.append(name)
    return tuple(dict.fromkeys(names))
