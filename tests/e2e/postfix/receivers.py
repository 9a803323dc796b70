"""The receiving side: one Postfix with a host name, an address and a certificate for each way to be right or wrong."""

import datetime as dt
import hashlib
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.e2e.postfix.mta import HOME, Postfix
from tests.e2e.postfix.network import Network, address
from tests.e2e.postfix.web import WEB
from tests.e2e.postfix.zones import Zone
from tests.fakes.certs import DAY, Authority

UID = 5000
ARRIVAL_SECONDS = 90
_BY = re.compile(r"by (\S+) \(Postfix\)")
_TO = re.compile(r"^Delivered-To: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Receiver:
    """`<label>.mx.test`, or for the attacker's `<label>.evil.test`."""

    label: str
    number: int
    has_tls: bool = True
    names: tuple[str, ...] = ()
    """In the certificate; empty: its own."""
    expires_in: dt.timedelta = 30 * DAY
    is_self_signed: bool = False
    tlsa: str = ""
    """Before the hash of its key, or the whole record."""
    zone: str = "mx.test"

    @property
    def name(self) -> str:
        return f"{self.label}.{self.zone}"


RECEIVERS = (
    Receiver("valid", 25),
    Receiver("expired", 26, expires_in=-DAY),
    Receiver("selfsigned", 27, is_self_signed=True),
    Receiver("misnamed", 28, names=("other.example",)),
    Receiver("plain", 29, has_tls=False),
    Receiver("dane", 30, is_self_signed=True, tlsa="3 1 1"),
    Receiver("danewrong", 31, is_self_signed=True, tlsa=f"3 1 1 {'00' * 32}"),
    Receiver("daneunusable", 32, is_self_signed=True, tlsa=f"1 1 1 {'00' * 32}"),
    Receiver("nolookup", 33),
    Receiver("smart", 34),
    Receiver("deep.sub", 35),
    Receiver("stripped", 66, has_tls=False, zone="evil.test"),
    Receiver("owncert", 67, zone="evil.test"),
    Receiver("forged", 68, names=("valid.mx.test",), is_self_signed=True, zone="evil.test"),
)
NUMBERS = [receiver.number for receiver in RECEIVERS]


class Mailboxes:
    """The receiving Postfix."""

    def __init__(self, folder: Path, network: Network, authority: Authority) -> None:
        self.postfix = Postfix.unpack("trixie", folder / "receiver", network, "receiver")
        self._pems = {
            receiver.label: authority.issue_pem(
                *(receiver.names or (receiver.name,)),
                expires_in=receiver.expires_in,
                self_signed=receiver.is_self_signed,
            )
            for receiver in RECEIVERS
        }

    def zones(self) -> list[Zone]:
        """mx.test is signed, the attacker's is not. `nolookup` answers nobody who asks for its TLSA records, `smart`
        has a policy of its own.
        """
        zones = {"mx.test": Zone("mx.test.", is_signed=True), "evil.test": Zone("evil.test.")}
        for receiver in RECEIVERS:
            lines = zones[receiver.zone].lines
            lines.append(f"{receiver.label} A {address(receiver.number)}")
            if receiver.tlsa:
                full = len(receiver.tlsa.split()) == 4
                record = receiver.tlsa if full else f"{receiver.tlsa} {self._key_hash(receiver)}"
                lines.append(f"_25._tcp.{receiver.label} TLSA {record}")
        zones["mx.test"].lines += ["alias CNAME dane"]
        zones["mx.test"].lines += ['_mta-sts.smart TXT "v=STSv1; id=1;"', f"mta-sts.smart A {address(WEB)}"]
        forbidden = Zone("_tcp.nolookup.mx.test.", is_bogus=True, parent="mx.test.")
        return [*zones.values(), forbidden]

    def start(self) -> None:
        main = {
            "virtual_mailbox_domains": "static:all",
            "virtual_mailbox_maps": "static:box/",
            "virtual_mailbox_base": f"{HOME}/mail",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{UID}",
            "virtual_gid_maps": f"static:{UID}",
            "smtpd_tls_received_header": "yes",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_peername_lookup": "no",
            "default_process_limit": "100",
        }
        services = [line for receiver in RECEIVERS for line in self._service(receiver)]
        files = {f"tls/{label}.pem": pem for label, pem in self._pems.items()}
        self.postfix.configure(main, services, files)
        (self.postfix.home / "mail").mkdir()
        self.postfix.command("chown", f"{UID}:{UID}", f"{HOME}/mail")
        self.postfix.start()

    def total(self) -> int:
        return sum(1 for _ in self.postfix.home.glob("mail/box/new/*"))

    def count(self, recipient: str) -> dict[str, int]:
        """How many of its messages each host has taken, by name and whether over TLS."""
        found: Counter[str] = Counter()
        for path in self.postfix.home.glob("mail/box/new/*"):
            text = path.read_text(errors="replace")
            to, by = _TO.search(text), _BY.search(text)
            assert to, text
            assert by, text
            if to[1] == recipient:
                found[f"{by[1]} {'TLS' if 'using TLSv' in text else 'plain'}"] += 1
        return dict(found)

    def wait_for(self, recipient: str, messages: int) -> dict[str, int]:
        """Until so many have come: the receiver has a queue of its own."""
        ends = time.monotonic() + ARRIVAL_SECONDS
        while sum((found := self.count(recipient)).values()) < messages:
            assert time.monotonic() < ends, self.postfix.log()[-3000:]
            time.sleep(0.1)
        return found

    def _key_hash(self, receiver: Receiver) -> str:
        certificate = x509.load_pem_x509_certificate(self._pems[receiver.label])
        key = certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(key).hexdigest()

    def _service(self, receiver: Receiver) -> list[str]:
        level = "may" if receiver.has_tls else "none"
        options = [f"myhostname={receiver.name}", f"smtpd_tls_security_level={level}"]
        if receiver.has_tls:
            options.append(f"smtpd_tls_chain_files={HOME}/tls/{receiver.label}.pem")
        first = f"{address(receiver.number)}:25 inet n - n - - smtpd"
        return [first, *(f"  -o {option}" for option in options)]
