"""The sending site: a real Postfix, and `mailward sender run` beside it. It is the same for all that is tried."""

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mailward.lab.faults import LabFault
from mailward.lab.mta import HOME, Postfix
from mailward.lab.network import Network
from mailward.lab.program import Program
from mailward.sender.counts import Counts
from mailward.sender.dkimkeys import make_key, zone_line
from mailward.sender.reportstore import ReportStore

HOST = "sender"
SUITES = {"3.7": "bookworm", "3.10": "trixie"}
MAPS = {"3.7": "QUERY", "3.10": "QUERYwithTLSRPT"}
QUEUE_LENGTH = 512  # datagrams that the kernel keeps for us; its own default is 10
_SOCKET = "tlsrpt.sock"
NAME = "sender.test"
_SELECTOR = "lab"
_SMTP_PORT = 2525
_DECISION = re.compile(r" decision-changed nexthop=(?P<nexthop>\S+) row=(?P<row>\S+) (?P<rest>.*)")
_LOOKED = re.compile(r" (?:mx-looked-at|mx-not-met) host=(\S+) ")
_NOT_REFRESHED = re.compile(r" refresh-failed domain=(\S+) ")
_SUCCESS = re.compile(r" TLSRPT: status=success, domain=(\S+), receiving_mx=([^\s\[]+)\[")
_RECHECK_SECONDS = 5  # for ten times as long after a domain was asked for
_ANSWER = re.compile(r' answer=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>\S+))')


@dataclass(frozen=True)
class Decision:
    row: str
    """Of docs/sender-decisions.md."""
    answer: str
    """What Postfix was told."""


@dataclass(frozen=True)
class Sent:
    """A report on its way to one rua."""

    domain: str
    state: str
    outcome: str


@dataclass
class Site:
    folder: Path
    network: Network
    version: str
    """Of Postfix."""
    postfix: Postfix
    authorities: bytes
    """PEM: whom the site trusts, for mail and for policies."""
    offset: timedelta = field(default_factory=timedelta)
    _policies: Program | None = None
    _starts: int = 0

    @classmethod
    def make(cls, folder: Path, network: Network, version: str, authorities: bytes) -> "Site":
        postfix = Postfix.unpack(SUITES[version], folder / "sender", network, HOST)
        (folder / "site").mkdir()
        site = cls(folder / "site", network, version, postfix, authorities)
        site._configure()
        return site

    def start(self) -> None:
        self.network.set_kernel(HOST, "net/unix/max_dgram_qlen", QUEUE_LENGTH)
        self.start_policies()
        self.postfix.start()
        found = self.postfix.version()
        if not found.startswith(f"{self.version}."):
            raise LabFault(f"this is Postfix {found}")

    @property
    def settings(self) -> Path:
        return self.folder / "mailward.toml"

    def key_record(self) -> str:
        """For the zone: of a key, made now, that signs its reports."""
        return zone_line(NAME, _SELECTOR, make_key(self.folder / "data", _SELECTOR, "rsa"))

    def go_on(self, offset: timedelta) -> None:
        """`mailward sender run`, stopped before, with its clock so far ahead."""
        self.offset = offset
        self.start_policies()

    def counted_days(self) -> int:
        """The days about which there is something to report."""
        counts = Counts(self.folder / "data" / "sender-tlsrpt.sqlite3")
        try:
            return len(counts.days())
        finally:
            counts.close()

    def days_made(self) -> int:
        """The days of which the reports have been made."""
        return self.log().count(" reports-made ")

    def reports(self) -> list[Sent]:
        """What became of the reports that it has made."""
        store = ReportStore(self.folder / "data" / "sender-reports.sqlite3")
        try:
            return [
                Sent(each.delivery.domain, each.delivery.state, each.delivery.outcome)
                for each in store.listing()
            ]
        finally:
            store.close()

    def start_policies(self) -> None:
        words = ["mailward", "sender", "run", "--config", str(self.settings)]
        environment = {"MAILWARD_CLOCK_OFFSET_SECONDS": str(self.offset.total_seconds())}
        self._policies = Program(self.network, HOST, words, self.folder / "log", environment)
        self._policies.start()
        self._starts += 1
        self._policies.wait_for(" sender started ", self._starts)

    def stop(self) -> None:
        if self._policies is not None:
            self._policies.stop()
            self._policies = None

    def ask(self, domain: str) -> None:
        """As Postfix does before it delivers there."""
        table = f"socketmap:inet:127.0.0.1:8461:{MAPS[self.version]}"
        self.postfix.look_up(domain, table)

    def log(self) -> str:
        """Of `mailward sender run`."""
        return (self.folder / "log").read_text(errors="replace")

    def learned(self) -> int:
        """How many policies have been learned so far."""
        return self.log().count(" policy-learned ")

    def looked_at(self) -> set[str]:
        """The hosts that it has connected to itself, to see what Postfix does not ask."""
        return set(_LOOKED.findall(self.log()))

    def not_refreshed(self) -> set[str]:
        """Domains whose policy it could not fetch anew."""
        return set(_NOT_REFRESHED.findall(self.log()))

    def successes(self) -> set[tuple[str, str]]:
        """Domain and host of sessions that Postfix calls good."""
        return set(_SUCCESS.findall(self.postfix.log()))

    def with_failures(self) -> set[str]:
        """Domains of which it has counted sessions that failed."""
        counts = Counts(self.folder / "data" / "sender-tlsrpt.sqlite3")
        try:
            return {
                str(each.domain)
                for part in counts.parts()
                for each in counts.read_part(part)
                if any(result.summary.total_failure_session_count for result in each.results)
            }
        finally:
            counts.close()

    def decisions(self) -> dict[str, Decision]:
        """The last one for each next hop; none where Postfix was told NOTFOUND from the beginning."""
        return {
            found["nexthop"]: Decision(found["row"], _answer(found["rest"]))
            for found in _DECISION.finditer(self.log())
        }

    def _configure(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.authorities)
        self.settings.write_text(
            f'data = "{self.folder}/data"\n'
            '[dns]\nresolvers = ["127.0.0.1"]\nallow_private_addresses = true\n'
            '[sender]\nlisten = ["127.0.0.1:8461"]\nmetrics_listen = ""\ndefault_level = "may"\n'
            f'ca_file = "{self.folder}/ca.pem"\ndnssec_bogus_name = "bogus.test"\n'
            f"recheck_seconds = {_RECHECK_SECONDS}\nnotice_minutes = 60\nqueue_command = []\n"
            f'[tlsrpt]\nsocket = "{self.postfix.home}/spool/{_SOCKET}"\n'
            f'log = "{self.postfix.home}/mail.log"\nverify_mx = true\nehlo_name = "{NAME}"\n'
            f'contact = "tls@{NAME}"\norganization = "The sending site"\ndkim_selectors = ["{_SELECTOR}"]\n'
            f'smtp_host = "127.0.0.1"\nsmtp_port = {_SMTP_PORT}\n'
            "make_after_minutes = 1\nspread_minutes = 0\nwarm_up_mails_per_hour = 0\n"
        )
        main = {
            "smtp_tls_security_level": "may",
            "smtp_dns_support_level": "dnssec",
            "smtp_tls_CAfile": f"{HOME}/ca.pem",
            "smtp_tls_loglevel": "1",
            "smtp_tls_policy_maps": f"socketmap:inet:127.0.0.1:8461:{MAPS[self.version]}",
            "default_process_limit": "100",
            # mail that has waited so long is sent without TLS where a handshake fails and TLS is not asked for
            "minimal_backoff_time": "1s",
        }
        if self.version != "3.7":
            main |= {
                "smtp_tls_loglevel": "summary,untrusted",  # docs/sender.md
                "smtp_tlsrpt_enable": "yes",
                "smtp_tlsrpt_socket_name": _SOCKET,
                "smtp_tlsrpt_skip_reused_handshakes": "no",
            }
        self.postfix.smtp_port = _SMTP_PORT
        self.postfix.configure(main, [], {"ca.pem": self.authorities})


def _answer(rest: str) -> str:
    found = _ANSWER.search(f" {rest}")
    if found is None:
        return ""
    return found["plain"] or json.loads(f'"{found["quoted"]}"')
