"""The receiving side: one Postfix with a host name, an address and a certificate for each way to be right or wrong."""

import datetime as dt
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailward.lab.certs import DAY, Authority, key_hash
from mailward.lab.faults import LabFault
from mailward.lab.mta import HOME, Postfix
from mailward.lab.network import Network, address
from mailward.net import clock

UID = 5000
ARRIVAL_SECONDS = 90
_BY = re.compile(r"by (\S+) \(Postfix\)")
_TO = re.compile(r"^Delivered-To: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Receiver:
    """`<label>.<zone>` in the DNS."""

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
    options: tuple[str, ...] = ()
    """More of main.cf for its service."""

    @property
    def name(self) -> str:
        return f"{self.label}.{self.zone}"


class Mailboxes:
    """The receiving Postfix."""

    def __init__(
        self, folder: Path, network: Network, authority: Authority, receivers: Sequence[Receiver]
    ) -> None:
        self.receivers = receivers
        self.postfix = Postfix.unpack("trixie", folder / "receiver", network, "receiver")
        self._pems = {
            receiver.name: authority.issue_pem(
                *(receiver.names or (receiver.name,)),
                expires_in=receiver.expires_in,
                self_signed=receiver.is_self_signed,
            )
            for receiver in receivers
        }

    def records(self, zone: str) -> list[str]:
        """The lines of its receivers, for the zone's file."""
        lines = []
        for receiver in self.receivers:
            if receiver.zone != zone:
                continue
            lines.append(f"{receiver.label} A {address(receiver.number)}")
            if receiver.tlsa:
                full = len(receiver.tlsa.split()) == 4
                record = receiver.tlsa if full else f"{receiver.tlsa} {key_hash(self._pems[receiver.name])}"
                lines.append(f"_25._tcp.{receiver.label} TLSA {record}")
        return lines

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
        services = [line for receiver in self.receivers for line in self._service(receiver)]
        files = {f"tls/{name}.pem": pem for name, pem in self._pems.items()}
        self.postfix.configure(main, services, files)
        (self.postfix.home / "mail").mkdir()
        self.postfix.command("chown", f"{UID}:{UID}", f"{HOME}/mail")
        self.postfix.start()

    def total(self) -> int:
        return sum(1 for _ in self.postfix.home.glob("mail/box/new/*"))

    def letters(self) -> list[str]:
        """Every message that has come."""
        return [path.read_text(errors="replace") for path in self.postfix.home.glob("mail/box/new/*")]

    def count(self, recipient: str) -> dict[str, int]:
        """How many of its messages each host has taken, by name and whether over TLS."""
        found: Counter[str] = Counter()
        for text in self.letters():
            to, by = _TO.search(text), _BY.search(text)
            if to is None or by is None:
                raise LabFault(f"no mail as this Postfix writes it: {text}")
            if to[1] == recipient:
                found[f"{by[1]} {'TLS' if 'using TLSv' in text else 'plain'}"] += 1
        return dict(found)

    def wait_for(self, recipient: str, messages: int) -> dict[str, int]:
        """Until so many have come: the receiver has a queue of its own."""
        ends = clock.monotonic() + ARRIVAL_SECONDS
        while sum((found := self.count(recipient)).values()) < messages:
            if clock.monotonic() > ends:
                raise LabFault(f"{recipient}: {found}\n{self.postfix.log()[-3000:]}")
            time.sleep(0.1)
        return found

    def _service(self, receiver: Receiver) -> list[str]:
        level = "may" if receiver.has_tls else "none"
        options = [f"myhostname={receiver.name}", f"smtpd_tls_security_level={level}"]
        if receiver.has_tls:
            options.append(f"smtpd_tls_chain_files={HOME}/tls/{receiver.name}.pem")
        first = f"{address(receiver.number)}:25 inet n - n - - smtpd"
        return [first, *(f"  -o {option}" for option in (*options, *receiver.options))]
