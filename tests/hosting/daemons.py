"""Nameservers and a resolver that others wrote, from a Debian tree of their own, on 127.0.0.1."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message

_SCRIPT = Path(__file__).with_name("dns-tree")
WAIT_SECONDS = 60


@dataclass(frozen=True)
class Tree:
    """A copy by hard links, in whose folder `/own` a test may write."""

    root: Path

    def write(self, name: str, text: str) -> str:
        """The file's name as the daemons see it."""
        file = self.root / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return f"/own/{name}"

    def put(self, name: str, text: str) -> None:
        """A file of the tree's own, instead of the one that all copies share."""
        file = self.root / name.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)

    def call(self, *command: str) -> str:
        called = subprocess.run(
            ["chroot", self.root, *command], check=True, capture_output=True, text=True, timeout=WAIT_SECONDS
        )
        return called.stdout

    @asynccontextmanager
    async def run(self, *command: str) -> AsyncIterator[None]:
        process = await asyncio.create_subprocess_exec("chroot", self.root, *command)
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@contextmanager
def make_tree(script: Path = _SCRIPT) -> Iterator[Tree]:
    """`script` prints where the tree is that is copied."""
    original = Path(subprocess.run([script], check=True, capture_output=True, text=True).stdout.strip())
    folder = Path(tempfile.mkdtemp(prefix="dns-test-", dir=original.parent))
    try:
        subprocess.run(["cp", "-al", original, folder / "root"], check=True)
        (folder / "root/own").mkdir()
        yield Tree(folder / "root")
    finally:
        shutil.rmtree(folder)


async def ask(
    port: int, name: str, rdtype: str = "TXT", *, dnssec: bool = False
) -> dns.message.Message | None:
    """None: no answer yet."""
    query = dns.message.make_query(name, rdtype, want_dnssec=dnssec)
    try:
        return await dns.asyncquery.udp(query, "127.0.0.1", 2, port, ignore_unexpected=True)
    except (dns.exception.DNSException, OSError):
        return None


async def ask_until(
    port: int, name: str, text: str, rdtype: str = "TXT", *, flags: int = 0
) -> dns.message.Message:
    """Until an answer shows the text, with these flags. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            response = await ask(port, name, rdtype, dnssec=bool(flags))
            if (
                response is not None
                and response.flags & flags == flags
                and any(text in str(rrset) for rrset in response.answer)
            ):
                return response
            await asyncio.sleep(0.05)
