"""Hosts as network namespaces on one bridge, without a way out: nothing of the machine's own network is touched.

Who is to be on somebody's path is made his router:

    network = Network({"attacker": [1], "receiver": [25], ...})
    network.put_behind("sender", "attacker")    # whatever the sender sends and gets passes through the attacker
    network.divert("attacker", "sender", [Diversion(address(25), "tcp", 25)])   # ... and ends at his own sockets

A diverted packet is delivered in the router, as if its address were his: a socket there that is bound to it
(IP_TRANSPARENT) answers. His own connections to that address still reach the real host.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailward.lab.faults import LabFault

_BEHIND = "10.78.0"
BEHIND = f"{_BEHIND}.2"
"""The address of a host that sits behind another."""
_DIVERTED = 100
"""A routing table of the router's: what is in there ends with him."""


def run(*command: str | Path, text: str = "") -> str:
    """What it writes. Raises LabFault with what it complains of."""
    parts = [str(part) for part in command]
    done = subprocess.run(parts, check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise LabFault(f"{' '.join(parts)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def address(number: int) -> str:
    return f"10.77.{number // 256}.{number % 256}"


@dataclass(frozen=True)
class Diversion:
    """What of the path is to end at the router."""

    to: str
    protocol: str
    port: int
    is_blocked: bool = False
    """Refused instead."""


class Network:
    """`hosts`: name to the numbers of its addresses."""

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

    def put_behind(self, host: str, router: str) -> None:
        """A new host whose only link leads to `router`, through whom the others reach it too."""
        name, through = self.name(host), self.name(router)
        self._names.append(host)
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        _pair(name, "uplink", through, host)
        for namespace, device, number in ((name, "uplink", 2), (through, host, 1)):
            run("ip", "-n", namespace, "addr", "add", f"{_BEHIND}.{number}/24", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"{_BEHIND}.1")
        self.set_kernel(router, "net/ipv4/ip_forward", 1)
        self.set_kernel(router, "net/ipv4/conf/all/rp_filter", 0)
        # each refusal is said: whoever hears nothing waits instead
        self.set_kernel(router, "net/ipv4/icmp_ratelimit", 0)
        gateway = run("ip", "-n", through, "-br", "-4", "addr", "show", "uplink").split()[2].partition("/")[0]
        for other in self._names:
            if other not in (host, router, "switch"):
                run("ip", "-n", self.name(other), "route", "add", f"{_BEHIND}.0/24", "via", gateway)

    def set_kernel(self, host: str, name: str, number: int) -> None:
        """A setting below /proc/sys that each network namespace has for itself."""
        run(*self.inside(host), "tee", f"/proc/sys/{name}", text=str(number))

    def divert(self, router: str, host: str, diversions: Sequence[Diversion]) -> None:
        """Of what `host`, behind `router`, sends. Once for each address, protocol and port."""
        rules, routes = [], set()
        for each in diversions:
            match = f"iif {host} to {each.to} ipproto {each.protocol} dport {each.port}"
            rules.append(f"rule add {match} {'unreachable' if each.is_blocked else f'lookup {_DIVERTED}'}")
            if not each.is_blocked:
                routes.add(f"route replace local {each.to} dev lo table {_DIVERTED}")
        lines = "".join(f"{line}\n" for line in [*sorted(routes), *rules])
        run("ip", "-n", self.name(router), "-batch", "-", text=lines)

    def let_pass(self, router: str) -> None:
        """The end of every diversion."""
        lines = run("ip", "-n", self.name(router), "rule").splitlines()
        numbers = [line.partition(":")[0] for line in lines if " iif " in line]
        run(
            "ip",
            "-n",
            self.name(router),
            "-batch",
            "-",
            text="".join(f"rule del pref {n}\n" for n in numbers),
        )

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
        _pair(name, "uplink", switch, host)
        run("ip", "-n", switch, "link", "set", host, "master", "bridge", "up")
        lines = "".join(f"addr add {address(number)}/16 dev uplink\n" for number in numbers)
        run("ip", "-n", name, "-batch", "-", text=lines)
        run("ip", "-n", name, "link", "set", "uplink", "up")


def _pair(one: str, device: str, other: str, peer: str) -> None:
    ends = ["netns", one, "type", "veth", "peer", "name", peer, "netns", other]
    run("ip", "link", "add", device, *ends)


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return
