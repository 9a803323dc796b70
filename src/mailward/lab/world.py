"""All hosts of the lab, set up and running: who is where, and what the DNS says.

                                           dns         10.77.0.53    NSD: a signed root, and zones below it
    sender ------ attacker ------ bridge - receiver    10.77.16.n    one Postfix; the MX hosts of all domains
    10.78.0.2     10.77.0.1                platform    10.77.0.200   `mailward serve`; the policy hosts, 10.77.32.n
    Postfix, `mailward sender run`, unbound

Whatever the sender sends passes through the attacker's host; he decides what becomes of it.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mailward.lab.attacker import Forgery, Hold, Orders
from mailward.lab.certs import DAY, Authority, key_hash
from mailward.lab.faults import LabFault
from mailward.lab.mta import find_tree
from mailward.lab.network import BEHIND, Diversion, Network, address
from mailward.lab.owner import Published, Wish
from mailward.lab.platform import HOST as PLATFORM
from mailward.lab.platform import NUMBER as PLATFORM_NUMBER
from mailward.lab.platform import Platform
from mailward.lab.program import Program
from mailward.lab.receivers import Mailboxes, Receiver
from mailward.lab.scenarios import Cell, Fault, Grip, Lie, Protection
from mailward.lab.site import HOST as SENDER
from mailward.lab.site import NAME as SENDER_NAME
from mailward.lab.site import Site
from mailward.lab.zones import DNS, Dns, Zone
from mailward.net import clock

ATTACKER = "attacker"
_ATTACKER_NUMBER = 1
ORDINARY = "ordinary.test"
"""A domain that nobody attacks. It publishes nothing."""
_ORDINARY_NUMBER = 25
_READY_SECONDS = 90
_RESCAN_SECONDS = 2.5  # net.pemfiles looks every two seconds
_OTHER_TLSA = f"3 1 1 {'00' * 32}"
_TLS_1_0 = (
    "smtpd_tls_protocols=>=TLSv1,<=TLSv1",
    "smtpd_tls_ciphers=medium",
    "tls_medium_cipherlist=ALL:!aNULL:@SECLEVEL=0",
)
_ASK = """
from dns import message, query
print(query.udp(message.make_query("test", "SOA", want_dnssec=True), "127.0.0.1", 2))
"""

Tell = Callable[[str], None]


@dataclass
class World:
    folder: Path
    cells: Sequence[Cell]
    network: Network
    authority: Authority
    dns: Dns
    platform: Platform
    mailboxes: Mailboxes
    site: Site
    attacker: Program
    capture: Program
    _attacked: list[Cell] = field(default_factory=list)

    def attack(self, cells: Sequence[Cell]) -> None:
        """Begin with these, and go on with what was begun."""
        self._attacked += cells
        # before anything is forged: a new id must not meet a certificate that is still good
        lapsing = [cell for cell in cells if cell.scenario.fault is Fault.POLICY_CERTIFICATE]
        self._certify(lapsing, is_valid=False)
        orders = self._orders(self._attacked)
        count = self.attacker.said().count("obeys")
        self.attacker.tell(msgspec.json.encode(orders).decode())
        self.attacker.wait_for("obeys", count + 1)
        self.network.let_pass(ATTACKER)
        self.network.divert(ATTACKER, SENDER, self._diversions(self._attacked))

    def end_attack(self) -> None:
        self.network.let_pass(ATTACKER)
        self._certify(
            [cell for cell in self.cells if cell.scenario.fault is Fault.POLICY_CERTIFICATE], is_valid=True
        )

    def _certify(self, cells: Sequence[Cell], *, is_valid: bool) -> None:
        policed = [cell for cell in cells if cell.protection.has_policy]
        for cell in policed:
            self.platform.certify(cell.domain, 30 * DAY if is_valid else -DAY)
        if policed:
            time.sleep(_RESCAN_SECONDS)

    def _orders(self, cells: Sequence[Cell]) -> Orders:
        holds, forgeries = {}, []
        for cell in cells:
            pem = self._pem(cell)
            if cell.scenario.grip:
                own = cell.evil if Lie.MX in cell.scenario.lies else ""
                holds[cell.met] = Hold(cell.scenario.grip, cell.mx_address, own, str(pem))
            forgeries += [lie for each in cell.scenario.lies for lie in _forgeries(cell, each, pem)]
        return Orders(holds, tuple(forgeries))

    def _diversions(self, cells: Sequence[Cell]) -> list[Diversion]:
        found = []
        for cell in cells:
            if cell.scenario.grip and cell.met == cell.mx_address:
                found.append(Diversion(cell.met, "tcp", 25))
            if Lie.NO_POLICY_HOST in cell.scenario.lies and cell.protection.has_policy:
                found.append(Diversion(cell.policy_address, "tcp", 443, is_blocked=True))
        if any(cell.scenario.lies for cell in cells):
            found.append(Diversion(address(DNS), "udp", 53))
        return found

    def _pem(self, cell: Cell) -> Path:
        """The attacker's certificate for it; made once."""
        path = self.folder / ATTACKER / f"{cell.label}.pem"
        if not path.exists():
            name = cell.evil if cell.scenario.grip is Grip.OTHER_NAME else cell.mx
            is_own = cell.scenario.grip is Grip.SELF_SIGNED
            path.write_bytes(self.authority.issue_pem(name, self_signed=is_own))
        return path


def _forgeries(cell: Cell, lie: Lie, pem: Path) -> list[Forgery]:
    tlsa = f"_25._tcp.{cell.mx}"
    if lie is Lie.MX:
        return [Forgery(cell.domain, "MX", (f"10 {cell.evil}.",))]
    if cell.protection is Protection.DANE:
        return {
            Lie.NO_RECORD: [Forgery(tlsa, "TLSA", rcode="NXDOMAIN")],
            Lie.BAD_RECORD: [Forgery(tlsa, "TLSA", (f"3 1 1 {key_hash(pem.read_bytes())}",))],
            Lie.NO_POLICY_HOST: [Forgery(tlsa, "TLSA", rcode="SERVFAIL")],
            Lie.NO_ANSWER: [Forgery(tlsa, "TLSA", rcode="SERVFAIL")],
        }.get(lie, [])
    if not cell.protection.has_policy:
        return []
    record = f"_mta-sts.{cell.domain}"
    return {
        Lie.NO_RECORD: [Forgery(record, "TXT", rcode="NXDOMAIN")],
        Lie.NO_ANSWER: [Forgery(record, "TXT", rcode="SERVFAIL")],
        Lie.BAD_RECORD: [Forgery(record, "TXT", ('"v=STSv1 this is no record"',))],
        Lie.NEW_ID: [Forgery(record, "TXT", ('"v=STSv1; id=20991231235959;"',))],
    }.get(lie, [])


@contextmanager
def running_world(
    cells: Sequence[Cell], version: str, tell: Tell, keep: Path | None = None
) -> Iterator[World]:
    """`version`: of the sending Postfix. `keep`: where to leave captures and logs. Raises LabFault."""
    with ExitStack() as stack:
        tell("A Debian with Postfix")
        folder = Path(tempfile.mkdtemp(prefix="lab-", dir=find_tree("trixie").parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        tell("Hosts in network namespaces")
        network = Network(
            {
                "dns": [DNS],
                ATTACKER: [_ATTACKER_NUMBER, *(cell.evil_number for cell in cells)],
                "receiver": [_ORDINARY_NUMBER, *(cell.mx_number for cell in cells)],
                PLATFORM: [PLATFORM_NUMBER, *(cell.policy_number for cell in cells)],
            }
        )
        stack.callback(network.close)
        network.put_behind(SENDER, ATTACKER)
        world = _prepare(folder, cells, network, version, tell)
        if keep is not None:
            stack.callback(_keep, world, keep)
        _start(world, stack, tell)
        yield world


def _prepare(folder: Path, cells: Sequence[Cell], network: Network, version: str, tell: Tell) -> World:
    for name in (PLATFORM, ATTACKER, "wire"):
        (folder / name).mkdir()
    authority = Authority(folder, "Lab Authority")
    platform = Platform(folder / PLATFORM, network, authority)
    tell("The platform, and the policies that it hosts")
    modes = {Protection.TESTING: "testing", Protection.ENFORCE: "enforce"}
    published = platform.prepare(
        [Wish(cell.domain, modes.get(cell.protection, ""), cell.policy_mx) for cell in cells]
    )
    tell("A receiver for every domain, and a signed DNS")
    ordinary = Receiver("mx", _ORDINARY_NUMBER, zone=ORDINARY)
    mailboxes = Mailboxes(folder, network, authority, [ordinary, *(_receiver(cell) for cell in cells)])
    dns = Dns(mailboxes.postfix.root, network, (SENDER, PLATFORM))
    site = Site.make(folder, network, version, authority.file.read_bytes())
    texts = {each.domain: each for each in published}
    dns.add(*(_zone(cell, texts[cell.domain], mailboxes) for cell in cells))
    dns.add(
        Zone(f"{ORDINARY}.", ["@ MX 10 mx", *mailboxes.records(ORDINARY)]),
        Zone("evil.test.", [f"{cell.label} A {cell.evil_address}" for cell in cells]),
        Zone(f"{SENDER_NAME}.", [f"@ A {BEHIND}", site.key_record()]),
        Zone("bogus.test.", ["@ A 192.0.2.1"], is_bogus=True),
        platform.zone(),
    )
    attacker = Program(
        network,
        ATTACKER,
        ["mailward.lab.attacker", str(folder / ATTACKER), address(DNS)],
        folder / "attacker.log",
    )
    capture = Program(
        network,
        ATTACKER,
        ["mailward.lab.capture", SENDER, str(folder / "wire" / "sender.pcap")],
        folder / "capture.log",
    )
    return World(folder, cells, network, authority, dns, platform, mailboxes, site, attacker, capture)


def _start(world: World, stack: ExitStack, tell: Tell) -> None:
    tell("Name servers, mail servers, platform, and the attacker")
    world.dns.start()
    stack.callback(world.dns.stop)
    for program in (world.capture, world.attacker):
        program.start()
        stack.callback(program.stop)
    world.mailboxes.start()
    world.platform.start()
    stack.callback(world.platform.stop)
    _wait_for_dns(world)
    world.site.start()
    stack.callback(world.site.stop)
    world.capture.wait_for("captures")
    world.attacker.wait_for("listens")


def _receiver(cell: Cell) -> Receiver:
    fault = cell.scenario.fault
    tlsa = "3 1 1" if cell.protection is Protection.DANE else ""
    return Receiver(
        "mx",
        cell.mx_number,
        expires_in=-DAY if fault is Fault.EXPIRED else 30 * DAY,
        tlsa=_OTHER_TLSA if fault is Fault.WRONG_TLSA else tlsa,
        zone=cell.domain,
        options=_TLS_1_0 if fault is Fault.TLS_1_0 else (),
    )


def _zone(cell: Cell, published: Published, mailboxes: Mailboxes) -> Zone:
    lines = ["@ MX 10 mx", *mailboxes.records(cell.domain)]
    if cell.scenario.fault is Fault.ROLLOVER and cell.protection is Protection.DANE:
        lines.append(f"_25._tcp.mx TLSA {_OTHER_TLSA}")
    lines += [f'{name} TXT "{text}"' for name, text in published.texts]
    if cell.protection.has_policy:
        lines.append(f"mta-sts A {cell.policy_address}")
    return Zone(f"{cell.domain}.", lines, is_signed=cell.protection is Protection.DANE)


def _wait_for_dns(world: World) -> None:
    """Until the sender's resolver and the platform's call the top zone secure."""
    ends = clock.monotonic() + _READY_SECONDS
    for host in world.dns.resolvers:
        command = [*world.network.inside(host), sys.executable, "-c", _ASK]
        while " AD" not in subprocess.run(command, capture_output=True, text=True, check=False).stdout:
            if clock.monotonic() > ends:
                raise LabFault("".join(path.read_text() for path in world.dns.folder.glob("*.log")))


def _keep(world: World, target: Path) -> None:
    """Captures and logs, for whoever wants to look himself."""
    target.mkdir(parents=True, exist_ok=True)
    found = {
        "sender.pcap": world.folder / "wire" / "sender.pcap",
        "attacker.events": world.folder / ATTACKER / "events",
        "attacker.log": world.folder / "attacker.log",
        "sender.log": world.folder / "site" / "log",
        "platform.log": world.folder / PLATFORM / "log",
        "receiver-postfix.log": world.mailboxes.postfix.home / "mail.log",
        "sender-postfix.log": world.site.postfix.home / "mail.log",
    }
    for name, path in found.items():
        if path.exists():
            shutil.copyfile(path, target / name)
