"""`mailward sender run` as a process of its own, with a settings file."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.ports import free_port
from tests.sender.lab import Lab

START_SECONDS = 20


@dataclass
class Process:
    config: Path
    port: int
    log: list[str] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    listener: int | None = None
    """A listening socket to hand over as systemd does, as file descriptor 3."""
    environment: dict[str, str] = field(default_factory=dict)
    """More of it."""

    async def start(self) -> "Process":
        self.log.clear()
        command = [sys.executable, "-m", "mailward", "sender", "run", "--config", str(self.config)]
        if self.listener is not None:
            handover = f'exec 3<&{self.listener}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
            command = ["bash", "-c", handover, "bash", *command]
        self.process = await asyncio.create_subprocess_exec(
            *command,
            env={name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")}
            | self.environment,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=[] if self.listener is None else [self.listener],
        )
        async with asyncio.timeout(START_SECONDS):
            while not (self.log and " started " in self.log[-1]):
                self.log.append(await self.line())
        return self

    async def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        assert self.process.stderr is not None
        self.process.send_signal(number)
        _, rest = await self.process.communicate()
        self.log += (rest or b"").decode().splitlines()
        return await self.process.wait()

    async def until_logged(self, text: str, seconds: float = 60) -> None:
        """A line may come before or after the one that says `started`."""
        async with asyncio.timeout(seconds):
            while not any(text in line for line in self.log):
                self.log.append(await self.line())

    async def line(self) -> str:
        assert self.process is not None
        assert self.process.stderr is not None
        line = await self.process.stderr.readline()
        assert line, "\n".join(self.log)
        return line.decode()


def make_process(lab: Lab, **changes: str) -> Process:
    port = free_port()
    config = lab.folder / "mailward.toml"
    sender = {
        "listen": f'["127.0.0.1:{port}"]',
        "cache": f'"{lab.folder / "cache.sqlite3"}"',
        "default_level": '"may"',
        "dane": "false",
        "policy_port": str(lab.host.port),
        "ca_file": f'"{lab.authority.file}"',
        "metrics_listen": '""',
        "queue_command": "[]",
    } | changes
    lines = [f"[dns]\nresolvers = ['{lab.dns.address}']\nallow_private_addresses = true\n[sender]"]
    lines += [f"{key} = {value}" for key, value in sender.items()]
    config.write_text("\n".join(lines))
    return Process(config, port)
