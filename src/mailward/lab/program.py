"""A program on a host of the lab, with its output in a file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailward.lab.faults import LabFault
from mailward.lab.network import Network
from mailward.net import clock

READY_SECONDS = 90  # a bound for a busy machine, not a wait
_STOP_SECONDS = 20


@dataclass
class Program:
    network: Network
    host: str
    words: Sequence[str]
    """After `python -m`."""
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Instead of this process's MAILWARD_ and DJANGO_ variables."""
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILWARD", "DJANGO"))}
        command = [*self.network.inside(self.host), sys.executable, "-m", *self.words]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=kept | dict(self.environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    def tell(self, line: str) -> None:
        """On its standard input."""
        if self._process is None or self._process.stdin is None:
            raise LabFault(f"{self.words[0]} does not run")
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until its output has it so many times."""
        ends = clock.monotonic() + READY_SECONDS
        while self.said().count(text) < count:
            if self._process is None or self._process.poll() is not None or clock.monotonic() > ends:
                raise LabFault(f"{' '.join(self.words)} did not say {text!r}:\n{self.said()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """By SIGTERM, or harder where that does not help."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
