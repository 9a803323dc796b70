"""The test bed: DNS, policy hosts, receivers, and two sending Postfixes that ask the same `mailward sender`.

    domains = [Domain("shop", mx=("valid",), policy=enforce("valid.mx.test"))]
    with running_bed(domains, [Site("may", 8461)]) as bed:
        bed.send("shop")                                  # with both Postfixes
        bed.delivery("shop", "3.10").status               # sent, deferred

As root, in network namespaces of its own; the machine's own mail server, resolver and network are not touched.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.e2e.postfix.receivers import NUMBERS, RECEIVERS, zones
from tests.e2e.postfix.site import Site

from mailward.lab.certs import Authority
from mailward.lab.mta import HOME, RESOLV_CONF, Delivery, Postfix, find_tree
from mailward.lab.network import Network, address
from mailward.lab.receivers import Mailboxes
from mailward.lab.web import WEB, PolicyHosts
from mailward.lab.zones import DEAD, DNS, Dns, Zone, dead

SUITES = {"3.7": "bookworm", "3.10": "trixie"}
MAPS = {"3.7": "QUERY", "3.10": "QUERYwithTLSRPT"}
SENDER = 10
SMTP_PORT = 2525  # of the sending Postfixes, for streams of mail
READY_SECONDS = 90
_ASK = """
from dns import message, query
print(query.udp(message.make_query("mx.test", "SOA", want_dnssec=True), "127.0.0.1", 2))
"""


def policy(mode: str, *names: str, max_age: int = 604_800) -> str:
    mx = "".join(f"mx: {name}\r\n" for name in names)
    return f"version: STSv1\r\nmode: {mode}\r\n{mx}max_age: {max_age}\r\n"


@dataclass(frozen=True)
class Domain:
    label: str
    """`<label>.test`"""
    mx: tuple[str, ...] = ("valid",)
    """Of mx.test, in the order of their preference."""
    policy: str = ""
    record: str = "by policy"
    """`dead`: cannot be looked up; `none`."""
    web: str = "good"
    """`self-signed`: the policy host's certificate is."""
    is_signed: bool = False
    site: str = "may"
    nexthop: str = ""
    """Instead of the domain, in the transport table."""
    extra: tuple[str, ...] = ()
    """More lines of its zone."""
    unicode: str = ""
    """The domain as people write it."""

    @property
    def name(self) -> str:
        return f"{self.label}.test"

    @property
    def logged_as(self) -> str:
        """How the sender's log writes its next hop."""
        return f'"{self.nexthop.removesuffix(":25")}"' if self.nexthop else self.name

    @property
    def lines(self) -> list[str]:
        lines = [f"@ MX {10 * (n + 1)} {host}.mx.test." for n, host in enumerate(self.mx)]
        lines.append(f'_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@{self.name}"')
        lines.append(f"mta-sts A {address(WEB)}")
        if self.record == "dead":
            lines.append(dead("_mta-sts"))
        elif self.policy and self.record != "none":
            lines.append('_mta-sts TXT "v=STSv1; id=1;"')
        return [*lines, *self.extra]


@dataclass
class Bed:
    folder: Path
    network: Network
    dns: Dns
    web: PolicyHosts
    mailboxes: Mailboxes
    senders: dict[str, Postfix]
    sites: dict[str, Site]
    domains: dict[str, Domain]
    authority: Authority

    def recipient(self, label: str, version: str) -> str:
        return f"{version}@{self.domains[label].unicode or self.domains[label].name}"

    def send(self, label: str) -> None:
        for version, postfix in self.senders.items():
            postfix.send(self.recipient(label, version))

    def delivery(self, label: str, version: str) -> Delivery:
        recipient = self.recipient(label, version)
        return self.senders[version].wait_for([recipient])[recipient]

    def taken(self, label: str, version: str) -> str:
        """What took the mail, or nothing."""
        was_sent = self.delivery(label, version).status == "sent"
        found = self.mailboxes.wait_for(self.recipient(label, version), int(was_sent))
        return " and ".join(found)


@contextmanager
def running_bed(
    domains: Sequence[Domain], sites: Sequence[Site], main_310: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Bed]:
    """`main_310`: more of main.cf of the Postfix 3.10."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bed-", dir=find_tree("trixie").parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        hosts = {"dns": [DNS, DEAD], "sender": [SENDER], "receiver": NUMBERS, "web": [WEB]}
        network = Network(hosts)
        stack.callback(network.close)
        network.set_kernel("sender", "net/unix/max_dgram_qlen", 512)  # as docs/tlsrpt.md asks
        bed = _prepare(folder, network, domains, sites, main_310)
        bed.dns.start()
        stack.callback(bed.dns.stop)
        bed.web.start()
        stack.callback(bed.web.stop)
        bed.mailboxes.start()
        _wait_for_dns(bed)
        for site in sites:
            stack.callback(_stop, site)
            site.spawn(network)
        for postfix in bed.senders.values():
            postfix.start()
        for site in sites:
            site.wait()
        yield bed


def _prepare(
    folder: Path,
    network: Network,
    domains: Sequence[Domain],
    sites: Sequence[Site],
    main_310: Mapping[str, str],
) -> Bed:
    (folder / "site").mkdir()
    authority = Authority(folder)
    mailboxes = Mailboxes(folder, network, authority, RECEIVERS)
    tree = mailboxes.postfix.root
    dns, web = Dns(tree, network), PolicyHosts(tree, network, authority)
    dns.add(*zones(mailboxes), Zone("bogus.test.", ["@ A 192.0.2.1"], is_bogus=True))
    web.add("smart.mx.test", policy("enforce", "smart.mx.test"))
    for domain in domains:
        dns.add(Zone(f"{domain.name}.", domain.lines, domain.is_signed))
        if domain.policy:
            web.add(domain.name, domain.policy, is_self_signed=domain.web == "self-signed")
    senders = {}
    for version, suite in SUITES.items():
        postfix = Postfix.unpack(suite, folder / f"sender-{version}", network, "sender")
        _configure(postfix, version, domains, sites, authority, main_310)
        assert postfix.version().startswith(f"{version}."), postfix.version()
        senders[version] = postfix
    for site in sites:
        site.write(folder / "site", authority.file, senders["3.10"].home)
        for listener, postfix in zip(site.listeners, senders.values(), strict=False):
            path = postfix.home / "spool" / "mailward.sock"
            listener.bind(str(path))
            listener.listen(1024)
            path.chmod(0o666)
    by_label = {domain.label: domain for domain in domains}
    by_name = {site.name: site for site in sites}
    return Bed(folder, network, dns, web, mailboxes, senders, by_name, by_label, authority)


def _configure(
    postfix: Postfix,
    version: str,
    domains: Sequence[Domain],
    sites: Sequence[Site],
    authority: Authority,
    main_310: Mapping[str, str],
) -> None:
    tls = {
        "smtp_dns_support_level": "dnssec",
        "smtp_tls_CAfile": f"{HOME}/ca.pem",
        "smtp_tls_loglevel": "1",
        "smtp_tls_session_cache_database": "",
        "transport_maps": f"texthash:{HOME}/transport",
    }
    if version == "3.10":
        tls |= {
            "smtp_tlsrpt_enable": "yes",
            "smtp_tlsrpt_socket_name": "tlsrpt.sock",
            "smtp_tlsrpt_skip_reused_handshakes": "no",
            "smtp_tls_security_level": "may",  # what tlsproxy goes by
        } | dict(main_310)
    postfix.smtp_port = SMTP_PORT + list(SUITES).index(version)
    services = ["tlsproxy unix - - n - 0 tlsproxy"]
    for site in sites:
        place = "unix:mailward.sock" if site.listeners else f"inet:127.0.0.1:{site.port}"
        services += [
            f"{site.name} unix - - {'y' if site.is_chrooted else 'n'} - - smtp",
            f"  -o smtp_tls_security_level={site.level or 'may'}",
            f"  -o smtp_tls_policy_maps=socketmap:{place}:{MAPS[version]}",
            *(f"  -o {option}" for option in site.options_310 if version == "3.10"),
        ]
    names = [(name, domain) for domain in domains for name in (domain.name, domain.unicode) if name]
    transport = "".join(f"{name} {domain.site}:{domain.nexthop}\n" for name, domain in names)
    files = {
        "ca.pem": authority.file.read_bytes(),
        "transport": transport.encode(),
        "spool/etc/resolv.conf": RESOLV_CONF.encode(),  # where a chrooted smtp(8) looks, as Debian's scripts copy it
    }
    postfix.configure(tls, services, files)


def _wait_for_dns(bed: Bed) -> None:
    """Until the resolver calls the receivers' zone secure."""
    ends = time.monotonic() + READY_SECONDS
    command = [*bed.network.inside("sender"), sys.executable, "-c", _ASK]
    while " AD" not in (said := subprocess.run(command, capture_output=True, text=True, check=False).stdout):
        assert time.monotonic() < ends, said + "".join(p.read_text() for p in bed.dns.folder.glob("*.log"))


def _stop(site: Site) -> None:
    if site.process is not None and site.process.poll() is None:
        site.kill()
