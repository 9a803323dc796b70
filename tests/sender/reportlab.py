"""A reporter with real counts, keys and store, whose mail goes to a real SMTP server and whose POSTs go to a real TLS
server, on loopback and on any day.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from tests.fakes.relay import FakeRelay

from mailward.config import Dns, Sender, Settings, Tlsrpt
from mailward.core.names import parse_domain
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.net import clock
from mailward.sender.counts import Counts
from mailward.sender.dkimkeys import load_keys, make_key
from mailward.sender.letters import Letters, make_reporter
from mailward.sender.reporter import Daily
from mailward.sender.reportrows import Delivery
from mailward.sender.reportstore import ReportStore

DAY = date(2026, 11, 27)
MORNING = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
RECORD = "v=TLSRPTv1; rua=mailto:tls@shop.example"
STS = Policy(
    policy_type="sts",
    policy_domain="shop.example",
    policy_string=("version: STSv1", "mode: testing", "mx: *.shop.example", "max_age: 86400"),
    mx_host=("*.shop.example",),
)
TLSA = Policy(policy_type="tlsa", policy_domain="mx.shop.example", policy_string=(f"3 1 1 {'AB' * 32}",))
EXPIRED = FailureDetail(
    result_type="certificate-expired",
    sending_mta_ip="192.0.2.1",
    receiving_mx_hostname="mx.shop.example",
    receiving_mx_helo="mx.shop.example",
    receiving_ip="198.51.100.7",
)


def tally(
    domain: str = "shop.example",
    *,
    day: date = DAY,
    record: str = RECORD,
    policy: Policy = STS,
    successes: int = 5,
    failures: int = 0,
    details: tuple[Detail, ...] = (),
) -> Tally:
    name = parse_domain(domain)
    return Tally(day, name, record, policy, Origin.DATAGRAM, successes, failures, details)


@dataclass
class ReportLab:
    folder: Path
    relay: FakeRelay
    changes: dict[str, object] = field(default_factory=dict)
    """More of [tlsrpt]."""
    sender: Sender = field(default_factory=lambda: Sender(metrics_listen=""))
    dns: Dns = field(default_factory=lambda: Dns(resolvers=("127.0.0.1:9",), allow_private_addresses=True))

    @property
    def settings(self) -> Settings:
        tlsrpt = Tlsrpt(
            socket="unused",
            contact="tls-reports@sender.example",
            organization="Sender Ltd",
            smtp_host="127.0.0.1",
            smtp_port=self.relay.port,
            spread_minutes=0,
            warm_up_mails_per_hour=0,
        )
        return Settings(
            data=str(self.folder),
            dns=self.dns,
            sender=self.sender,
            tlsrpt=msgspec.structs.replace(tlsrpt, **self.changes),
        )

    def count(self, *tallies: Tally) -> None:
        counts = Counts(self.settings.tlsrpt_counts_path)
        counts.add(tallies)
        counts.close()

    def make_key(self, selector: str, kind: str) -> None:
        make_key(self.folder, selector, kind)
        selectors = (*self.settings.tlsrpt.dkim_selectors, selector)
        self.changes["dkim_selectors"] = selectors

    @contextmanager
    def daily(self) -> Iterator[Daily]:
        settings = self.settings
        reporter = make_reporter(settings)
        keys = load_keys(self.folder, settings.tlsrpt.dkim_selectors)
        store, counts = ReportStore(settings.tlsrpt_reports_path), Counts(settings.tlsrpt_counts_path)
        try:
            yield Daily(settings, reporter, Letters(settings, reporter, keys), store, counts)
        finally:
            store.close()
            counts.close()

    async def once(self, at: datetime = MORNING) -> None:
        """Started at that time, until nothing is due."""
        with clock.frozen(at), self.daily() as daily:
            daily.start()
            await daily.run_once()

    def deliveries(self) -> list[Delivery]:
        store = ReportStore(self.settings.tlsrpt_reports_path)
        found = [each.delivery for each in store.listing()]
        store.close()
        return found

    def states(self) -> dict[str, str]:
        """rua -> state, of the one report."""
        return {each.rua: each.state for each in self.deliveries()}

    def config_file(self) -> Path:
        """The settings as a file, for a process."""
        lines = [f'data = "{self.folder}"']
        for table in ("dns", "sender", "tlsrpt"):
            lines.append(f"[{table}]")
            default = msgspec.to_builtins(getattr(Settings(), table))
            for key, value in msgspec.to_builtins(getattr(self.settings, table)).items():
                if value != default[key]:
                    shown = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
                    lines.append(f"{key} = {shown}")
        path = self.folder / "mailward.toml"
        path.write_text("\n".join(lines).replace("(", "[").replace(")", "]"))
        return path

    async def command(self, *words: str, at: datetime = MORNING, stdin: bytes = b"") -> tuple[int, str]:
        """`mailward sender ...` as a process: exit status and what it says."""
        process = await self.spawn(*words, at=at)
        output, _ = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def spawn(self, *words: str, at: datetime = MORNING) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailward", "sender", *words, "--config", str(self.config_file())),
            env=_environment(at),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


def _environment(at: datetime) -> dict[str, str]:
    offset = (at - clock.now()).total_seconds()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")}
    return kept | {"MAILWARD_CLOCK_OFFSET_SECONDS": str(offset), "COLUMNS": "100"}


def later(days: float) -> datetime:
    return MORNING + timedelta(days=days)


def ruas(*names: str) -> str:
    return f"v=TLSRPTv1; rua={','.join(names)}"
