"""The zones of a real PowerDNS server (sqlite backend), over its HTTP API."""

import http.client
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from tests.fakes.ports import free_port
from tests.hosting.daemons import WAIT_SECONDS, Tree, make_tree

from mailward.core.importing.listing import Unreadable
from mailward.net import clock
from mailward.net.powerdns import PowerDns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only")

KEY = "a key with spaces"
CONFIG = f"""\
launch=gsqlite3
gsqlite3-database=/own/pdns.sqlite3
local-address=127.0.0.1
local-port={{port}}
api=yes
api-key={KEY}
webserver=yes
webserver-address=127.0.0.1
webserver-port={{web}}
webserver-allow-from=127.0.0.1
socket-dir=/own
"""
SCHEMA = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
ZONES = {
    "example.test.": {
        "example.test.": ["20 mx2.example.test.", "10 mx1.example.net."],
        "sub.example.test.": ["5 mx1.example.net."],
    },
    "none.test.": {"none.test.": ["0 ."]},
    "0/25.2.0.192.in-addr.arpa.": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with make_tree() as made:
        yield made


@pytest.fixture
async def server(tree: Tree) -> AsyncIterator[str]:
    port, web = free_port(), free_port()
    tree.write("pdns.conf", CONFIG.format(port=port, web=web))
    tree.call("sqlite3", "/own/pdns.sqlite3", f".read {SCHEMA}")
    async with tree.run("pdns_server", "--config-dir=/own", "--daemon=no", "--guardian=no", "--write-pid=no"):
        fill(web)
        yield f"http://127.0.0.1:{web}"


def fill(port: int) -> None:
    for zone, names in ZONES.items():
        rrsets = [
            {
                "name": name,
                "type": "MX",
                "ttl": 300,
                "records": [{"content": each, "disabled": False} for each in records],
            }
            for name, records in names.items()
        ]
        wanted = {"name": zone, "kind": "Native", "nameservers": ["ns1.example.test."], "rrsets": rrsets}
        assert post(port, wanted) == http.HTTPStatus.CREATED


def post(port: int, zone: Mapping[str, object]) -> int:
    """Until the server listens."""
    until = clock.monotonic() + WAIT_SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        try:
            connection.request(
                "POST", "/api/v1/servers/localhost/zones", json.dumps(zone), {"X-API-Key": KEY}
            )
            return connection.getresponse().status
        except ConnectionRefusedError:
            if clock.monotonic() > until:
                raise
        finally:
            connection.close()


async def test_every_mail_domain_of_every_zone_is_read(server: str) -> None:
    listing = PowerDns(server, KEY).read()
    assert sorted((each.name, each.mx, each.where) for each in listing.wishes) == [
        ("example.test", ("mx1.example.net", "mx2.example.test"), "zone example.test."),
        ("sub.example.test", ("mx1.example.net",), "zone example.test."),
    ]
    assert [(each.text, each.reason) for each in listing.refused] == [
        ("none.test", "it takes no mail (RFC 7505)")
    ]
    with pytest.raises(Unreadable, match="401"):
        PowerDns(server, "another key").read()
    with pytest.raises(Unreadable, match="404"):
        PowerDns(f"{server}/elsewhere", KEY).read()


def test_a_server_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says
        PowerDns(f"http://127.0.0.1:{free_port()}", KEY).read()
    for url in ("http://", "http://host:port", "http://[::1"):
        with pytest.raises(Unreadable):
            PowerDns(url, KEY)
