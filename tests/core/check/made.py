"""Facts of a domain that is as it should be, and ways to change one thing about it."""

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from tests.zoo.certs import Chain, Zoo, tlsa

from mailward.core.check.facts import (
    Facts,
    Fetch,
    Found,
    Lookup,
    MxHost,
    PolicyHost,
    Reach,
    ReportTarget,
    Session,
    Tls,
    TrustError,
)
from mailward.core.names import Domain
from mailward.net import clock

DOMAIN = Domain("example.test")
MX = "mx.example.test"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 2419200\n"
TESTING = POLICY.replace(b"enforce", b"testing")
NOW = clock.now()
EHLO = ("PIPELINING", "STARTTLS", "8BITMIME")


@lru_cache(maxsize=1)
def authority() -> Zoo:
    with tempfile.TemporaryDirectory() as folder:
        return Zoo(Path(folder))


@lru_cache(maxsize=32)
def chain(kind: str, name: str) -> Chain:
    return authority().issue(kind, name)


def tls(kind: str = "good", *errors: int, name: str = MX) -> Tls:
    """With what OpenSSL says of it."""
    ders = tuple(each.public_bytes(Encoding.DER) for each in chain(kind, name).certificates)
    return Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", ders, tuple(TrustError(n, 0, "text") for n in errors))


def found(name: str, kind: str, *records: str, is_secure: bool = False) -> Lookup:
    texts = tuple(record.encode() for record in records) if kind == "TXT" else ()
    return Lookup(name, kind, Found.FOUND, records, texts, is_secure)


def absent(name: str, kind: str, *, is_secure: bool = False, chain: tuple[str, ...] = ()) -> Lookup:
    return Lookup(name, kind, Found.NXDOMAIN, is_secure=is_secure, chain=chain)


def failed(name: str, kind: str) -> Lookup:
    return Lookup(name, kind, Found.FAILED, reason="127.0.0.1:53 answers SERVFAIL")


def session(address: str = "192.0.2.25", **changes: Any) -> Session:  # Any: the fields of Session
    seen = Session(address, Reach.SPOKE, banner=f"220 {MX} ESMTP", extensions=EHLO, tls=tls())
    return replace(seen, **changes)


def host(*sessions: Session, name: str = MX, **changes: Any) -> MxHost:
    sessions = sessions or (session(),)
    v4 = found(name, "A", *(each.address for each in sessions if ":" not in each.address))
    six = [each.address for each in sessions if ":" in each.address]
    v6 = found(name, "AAAA", *six) if six else absent(name, "AAAA")
    return replace(MxHost(name, v4, v6, sessions=sessions), **changes)


def signed_host(*records: str, name: str = MX, kind: str = "good", **changes: Any) -> MxHost:
    """With an address and TLSA records that DNSSEC proves."""
    texts = [tlsa(record, chain(kind, name), authority().intermediate.certificate) for record in records]
    owner = f"_25._tcp.{name}"
    lookup = found(owner, "TLSA", *texts, is_secure=True) if texts else absent(owner, "TLSA", is_secure=True)
    errors = {"self-signed": (18,), "expired": (10,)}.get(kind, ())
    seen = session(tls=tls(kind, *errors, name=name))
    v4 = found(name, "A", "192.0.2.25", is_secure=True)
    six = absent(name, "AAAA", is_secure=True)
    return replace(MxHost(name, v4, six, (lookup,), (seen,)), **changes)


def policy_host(*fetches: Fetch, **changes: Any) -> PolicyHost:
    name = f"mta-sts.{DOMAIN}"
    fetches = fetches or (Fetch("192.0.2.80", body=POLICY, tls=tls(name=name)),)
    v4 = found(name, "A", *(fetch.address for fetch in fetches))
    return replace(PolicyHost(v4, absent(name, "AAAA"), fetches), **changes)


def serving(body: bytes) -> dict[str, Any]:
    return {"policy_host": policy_host(Fetch("192.0.2.80", body=body))}


def record(*texts: str) -> dict[str, Any]:
    name = f"_mta-sts.{DOMAIN}"
    return {"sts": found(name, "TXT", *texts) if texts else absent(name, "TXT")}


def reports(*texts: str) -> dict[str, Any]:
    name = f"_smtp._tls.{DOMAIN}"
    return {"tlsrpt": found(name, "TXT", *texts) if texts else absent(name, "TXT")}


def facts(**changes: Any) -> Facts:
    """MTA-STS in force, reports wanted, without DNSSEC: nothing to find."""
    base = Facts(
        domain=DOMAIN,
        at=NOW,
        validates=True,
        mx=found(DOMAIN, "MX", f"10 {MX}"),
        hosts=(host(),),
        sts=found(f"_mta-sts.{DOMAIN}", "TXT", "v=STSv1; id=1;"),
        elsewhere=(),
        policy_host=policy_host(),
        tlsrpt=found(f"_smtp._tls.{DOMAIN}", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{DOMAIN}"),
        targets=(ReportTarget(f"mailto:tls@{DOMAIN}", DOMAIN, takes_reports=True),),
    )
    return replace(base, **changes)


def signed(*hosts: MxHost, **changes: Any) -> Facts:
    """The same with DNSSEC everywhere."""
    names = [f"{10 * (at + 1)} {each.name}" for at, each in enumerate(hosts)]
    return facts(mx=found(DOMAIN, "MX", *names, is_secure=True), hosts=hosts, **changes)
