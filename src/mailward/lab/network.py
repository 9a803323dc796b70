"""Hosts as network namespaces on one bridge, without a way out: nothing of the machine's own network is touched."""

import os
import signal
import subprocess
from pathlib import Path

from mailward.lab.faults import LabFault

PREFIX = "10.77.0"


def run(*command: str | Path, text: str = "") -> str:
    """What it writes. Raises LabFault with what it complains of."""
    parts = [str(part) for part in command]
    done = subprocess.run(parts, check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise LabFault(f"{' '.join(parts)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def address(number: int) -> str:
    return f"{PREFIX}.{number}"


class Network:
    """`hosts`: name to the last parts of its addresses."""

    def __init__(self, hosts: dict[str, list[int]]) -> None:
        self._tag = f"mw{os.getpid()}"
        self._names = [*hosts, "switch"]
        self.close()
        switch = self.name("switch")
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "bridge", "up")
        for host, numbers in hosts.items():
            self._add(host, numbers)

    def name(self, host: str) -> str:
        return f"{self._tag}-{host}"

    def inside(self, host: str) -> list[str]:
        """What a command begins with that is to run on that host."""
        return ["ip", "netns", "exec", self.name(host)]

    def close(self) -> None:
        """With every process that is left in there: all of them are ours."""
        there = {path.name for path in Path("/run/netns").glob("*")}
        for host in self._names:
            if self.name(host) in there:
                while numbers := run(
                    "ip", "netns", "pids", self.name(host)
                ).split():  # Postfix's master starts more
                    for number in numbers:
                        _kill(int(number))
                run("ip", "netns", "del", self.name(host))

    def _add(self, host: str, numbers: list[int]) -> None:
        name, switch = self.name(host), self.name("switch")
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        run(
            "ip",
            "link",
            "add",
            "uplink",
            "netns",
            name,
            "type",
            "veth",
            "peer",
            "name",
            host,
            "netns",
            switch,
        )
        run("ip", "-n", switch, "link", "set", host, "master", "bridge", "up")
        for number in numbers:
            run("ip", "-n", name, "addr", "add", f"{address(number)}/24", "dev", "uplink")
        run("ip", "-n", name, "link", "set", "uplink", "up")


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return
