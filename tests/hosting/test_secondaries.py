"""A real NSD, from a Debian tree, that takes our zone by AXFR, signed, and follows it by NOTIFY."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import pytest
from tests.core.dns.zones import RECORDS
from tests.hosting.test_authdns import KEY_TEXT, KEYS

from mailward.core.dns.nameserver import Secondary
from mailward.core.dns.ratelimit import RateLimiter
from mailward.core.dns.wire import Type, encode_name
from mailward.core.dns.zone import Authority, Record, Soa, make_zone
from mailward.hosting import secondaries as secondaries_module
from mailward.hosting.authdns import Nameserver, TransferAccess
from mailward.hosting.secondaries import Secondaries
from mailward.hosting.transfer import parse_keys
from mailward.lab.mta import find_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only")

OTHER_KEYS = parse_keys(["other.:hmac-sha256:MDEyMzQ1Njc4OWFiY2RlZg=="])
APEX = encode_name("sts.example")
QUESTION = dns.message.make_query("_mta-sts.abc.sts.example", "TXT")
CONFIG = """\
server:
  ip-address: 127.0.0.1
  port: {port}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: ""
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  logfile: "{folder}/nsd.log"
  verbosity: 2
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "{key}"
  algorithm: {algorithm}
  secret: "{secret}"
zone:
  name: "sts.example"
  zonefile: "sts.example.zone"
  allow-notify: 127.0.0.1 {key}
  request-xfr: AXFR 127.0.0.1@{primary} {key}
"""


@pytest.fixture
def tree() -> Iterator[Path]:
    """A Debian tree of our own, by hard links."""
    original = find_tree("trixie")
    folder = Path(tempfile.mkdtemp(prefix="nsd-", dir=original.parent))
    root = folder / "root"
    subprocess.run(["cp", "-al", original, root], check=True)
    yield root
    shutil.rmtree(folder)


def authority(serial: int, policy_id: str) -> Authority:
    soa = Soa("ns1.sts.example", "hostmaster@sts.example", serial=serial)
    kept = [record for record in RECORDS if record.owner != "_mta-sts.abc.sts.example"]
    record = Record("_mta-sts.abc.sts.example", Type.TXT, f"v=STSv1; id={policy_id};")
    return Authority([make_zone("sts.example", soa, [*kept, record])])


async def ask_until(port: int, text: str) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(30):
        while True:
            try:
                response = await dns.asyncquery.udp(QUESTION, "127.0.0.1", 1, port)
            except (dns.exception.Timeout, OSError):
                response = None
            if response is not None and response.answer and text in str(response.answer[0]):
                return
            await asyncio.sleep(0.05)


async def test_nsd_takes_the_zone_and_follows_each_change(
    tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(secondaries_module, "FIRST_WAIT_SECONDS", 0.1)
    server = Nameserver(RateLimiter(per_topic=0, per_address=0), TransferAccess(KEYS))
    server.authority = authority(1, "one")
    primary = await server.listen(["127.0.0.1"], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key, algorithm, secret = KEY_TEXT.split(":")
    (tree / "secondary").mkdir()
    (tree / "secondary/nsd.conf").write_text(
        CONFIG.format(
            port=port, folder="/secondary", primary=primary, key=key, algorithm=algorithm, secret=secret
        )
    )
    nsd = await asyncio.create_subprocess_exec("chroot", tree, "nsd", "-d", "-c", "/secondary/nsd.conf")
    secondaries = Secondaries([Secondary("127.0.0.1", port)], KEYS)
    try:
        await ask_until(port, "id=one")
        for serial, policy_id in ((2, "two"), (3, "three")):
            server.authority = authority(serial, policy_id)
            secondaries.tell(APEX)
            # the refresh of the SOA is a quarter of an hour: only NOTIFY makes it so soon
            await ask_until(port, f"id={policy_id}")
        async with asyncio.timeout(20):
            await asyncio.gather(*secondaries._telling.values())
        assert secondaries.told.keys() == {"answered"}
        stranger = Secondaries([Secondary("127.0.0.1", port)], OTHER_KEYS)
        with caplog.at_level(logging.WARNING):
            stranger.tell(APEX)
            async with asyncio.timeout(20):
                await asyncio.gather(*stranger._telling.values())
        assert stranger.told == {"refused": 1}
        assert "NOTAUTH" in caplog.records[0].__dict__["rcode"]
    finally:
        secondaries.close()
        nsd.terminate()
        await nsd.wait()
        await server.close()
