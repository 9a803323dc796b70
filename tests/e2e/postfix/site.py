"""`mailward sender run` as one operator has set it up, beside the sending Postfixes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mailward.lab.network import Network

START_SECONDS = 90
_CHANGED = re.compile(r" decision-changed nexthop=(?P<nexthop>\S+) row=(?P<row>\S+) ")


@dataclass
class Site:
    name: str
    """Also of the transport in the sending Postfixes' master.cf."""
    port: int
    level: str = "may"
    """Postfix's own, and what the sender is told."""
    settings: dict[str, str] = field(default_factory=dict)
    """More of `[sender]`, as TOML."""
    tlsrpt: dict[str, str] = field(default_factory=dict)
    """`[tlsrpt]`, as TOML. In both, `{home}` is the folder of the Postfix 3.10 beside it."""
    overrides: str = ""
    options_310: tuple[str, ...] = ()
    """More of main.cf for its transport, where Postfix is 3.10."""
    is_chrooted: bool = False
    """Whether its transport is, to the queue directory."""
    listeners: list[socket.socket] = field(default_factory=list)
    """To hand over as systemd does, instead of the port."""
    process: subprocess.Popen[bytes] | None = None

    def write(self, folder: Path, authority_file: Path, home: Path) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(exist_ok=True)
        (self.folder / "overrides.toml").write_text(self.overrides)
        sender = {
            "listen": f'["127.0.0.1:{self.port}"]',
            "metrics_listen": '""',  # several senders share a host here
            "default_level": f'"{self.level}"',
            "ca_file": f'"{authority_file}"',
            "dnssec_bogus_name": '"bogus.test"',
            "overrides": f'"{self.folder / "overrides.toml"}"',
        } | self.settings
        lines = [
            f'data = "{self.folder}"',
            "[dns]",
            'resolvers = ["127.0.0.1"]',
            "allow_private_addresses = true",
        ]
        lines += ["[sender]", *(f"{key} = {value}" for key, value in sender.items())]
        lines += ["[tlsrpt]", *(f"{key} = {value}" for key, value in self.tlsrpt.items())]
        (self.folder / "mailward.toml").write_text("\n".join(lines).replace("{home}", str(home)))

    def spawn(self, network: Network) -> None:
        """Started, but not yet ready."""
        command = [
            sys.executable,
            "-m",
            "mailward",
            "sender",
            "run",
            "--config",
            str(self.folder / "mailward.toml"),
        ]
        numbers = [listener.fileno() for listener in self.listeners]
        if numbers:  # exec keeps the process id that systemd's variables name
            moves = "; ".join(f"exec {3 + n}<&{number}" for n, number in enumerate(numbers))
            take = f'{moves}; LISTEN_PID=$$ LISTEN_FDS={len(numbers)} exec "$@"'
            command = ["bash", "-c", take, "bash", *command]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*network.inside("sender"), *command],
                stderr=log,
                pass_fds=numbers,
                env={name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")},
            )

    def wait(self) -> None:
        """Until it answers, and reads Postfix's log where it is to: what was written before is not looked at."""
        ends = time.monotonic() + START_SECONDS
        starts = self.starts + 1
        signs = (" sender started ", " log-followed ") if "log" in self.tlsrpt else (" sender started ",)
        while any(self.log().count(sign) < starts for sign in signs):
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < ends, self.log()
            time.sleep(0.05)
        self.starts = starts
        if "log" in self.tlsrpt:
            # the log's times are cut to seconds: what has the second of its first look, or the one before, is not sure
            time.sleep(2.5)

    def wait_for_policies(self, count: int) -> None:
        """Until it has learned so many."""
        ends = time.monotonic() + START_SECONDS
        while self.log().count(" policy-learned ") < count:
            assert time.monotonic() < ends, self.log()
            time.sleep(0.05)

    starts: int = 0

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rows(self) -> dict[str, str]:
        """Each next hop to the row of its last decision; `nothing` is not logged."""
        return {found["nexthop"]: found["row"] for found in _CHANGED.finditer(self.log())}
