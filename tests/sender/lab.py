"""A domain with its DNS, its policy host and the sending side's parts, all real, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.policyhost import PolicyHost, http

from mailward.config import Dns, Sender, Settings, Tlsrpt
from mailward.sender.daemon import Daemon, make_daemon, make_sender_resolver
from mailward.sender.sqlite import SqliteCache

DOMAIN = "example.test"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 604800\n"
SECURE = "OK secure match=mx.example.test servername=hostname"
SHA256 = "ab" * 32


def policy(mode: str, max_age: int = 604800) -> bytes:
    return POLICY.replace(b"enforce", mode.encode()).replace(b"604800", str(max_age).encode())


class Lab:
    def __init__(self, folder: Path, dns: FakeDns, authority: Authority, host: PolicyHost) -> None:
        self.folder, self.dns, self.authority, self.host = folder, dns, authority, host
        self.tlsrpt = Tlsrpt()
        self.sender = Sender(
            listen=("127.0.0.1:0",),
            cache=str(folder / "cache.sqlite3"),
            default_level="may",
            dane=False,
            policy_port=host.port,
            ca_file=str(authority.file),
        )

    def settings(self, **changes: object) -> Settings:
        sender = msgspec.structs.replace(self.sender, **changes)
        return Settings(
            data=str(self.folder),
            dns=Dns(resolvers=(self.dns.address,), allow_private_addresses=True),
            sender=sender,
            tlsrpt=self.tlsrpt,
        )

    def publish(self, policy_id: str = "1", body: bytes = POLICY) -> None:
        self.dns.set(f"_mta-sts.{DOMAIN}", "TXT", f"v=STSv1; id={policy_id};")
        self.host.response = http(body)

    def daemon(self, **changes: object) -> Daemon:
        settings = self.settings(**changes)
        cache = SqliteCache(settings.sender_cache_path, settings.sender.max_domains)
        return make_daemon(settings, cache, make_sender_resolver(settings))

    def sign(self) -> None:
        """DNSSEC everywhere: one MX host with an address and a TLSA record."""
        self.dns.authenticated = True
        self.dns.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.")
        self.dns.set(f"mx.{DOMAIN}", "A", "192.0.2.1")
        self.dns.set(f"_25._tcp.mx.{DOMAIN}", "TLSA", f"3 1 1 {SHA256}")

    def asked(self, name: str, rdtype: str) -> int:
        return sum((query.name.lower(), query.rdtype) == (name, rdtype) for query in self.dns.queries)


@asynccontextmanager
async def running_lab(folder: Path) -> AsyncIterator[Lab]:
    authority = Authority(folder)
    host = PolicyHost(authority.issue(f"mta-sts.{DOMAIN}"), http(POLICY))
    async with FakeDns() as dns, host.running():
        dns.set(DOMAIN, "SOA", f"ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 120")
        dns.set(f"mta-sts.{DOMAIN}", "A", "127.0.0.1")
        yield Lab(folder, dns, authority, host)
