"""Reads the zones of a PowerDNS server over its HTTP API, on one connection, zone by zone.

Whoever starts it names the server, which may well be at a private address: no guard. Answers are bounded all the same.
"""

import http.client
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from mailward.core.importing.listing import Listing, Refused, Unreadable, Wish
from mailward.core.importing.powerdns import MAX_ANSWER_BYTES, read_zone, read_zones
from mailward.core.importing.reading import gather
from mailward.net import clock

SOCKET_SECONDS = 30.0
TOTAL_SECONDS = 3600.0
"""Ten thousand zones take some minutes."""
_BASE = "/api/v1/servers/localhost/zones"
_OK = 200


class PowerDns:
    def __init__(self, url: str, key: str) -> None:
        """`url`: such as `http://127.0.0.1:8081`; `https` is verified by the system's authorities.

        Raises Unreadable.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise Unreadable(f"{url}: {error}") from error
        if not host or not key.isascii() or not key.isprintable():
            raise Unreadable("the URL has no host, or the key is not plain text")
        self._headers = {"X-API-Key": key, "Accept": "application/json"}
        self._prefix = parts.path.rstrip("/")
        self._connection = (
            http.client.HTTPSConnection(
                host, port, timeout=SOCKET_SECONDS, context=ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=SOCKET_SECONDS)
        )

    def read(self) -> Listing:
        """Every name with MX records in any zone but reverse ones. Raises Unreadable, OSError."""
        try:
            return gather(self._rows())
        finally:
            self._connection.close()

    def _rows(self) -> Iterator[Wish | Refused]:
        until = clock.monotonic() + TOTAL_SECONDS
        for zone_id in read_zones(self._get("")):
            if clock.monotonic() > until:
                raise Unreadable(f"the server took longer than {TOTAL_SECONDS:g} seconds")
            # the id is the server's own text, made for this path: a slash in a name is =2F there
            yield from read_zone(self._get("/" + quote(zone_id, safe="=.-_")), zone_id)

    def _get(self, path: str) -> bytes:
        try:
            self._connection.request("GET", self._prefix + _BASE + path, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read(MAX_ANSWER_BYTES + 1)
        except http.client.HTTPException as error:
            raise Unreadable(f"the server's answer is no HTTP: {type(error).__name__}") from error
        if answer.status != _OK:
            raise Unreadable(f"the server answers {answer.status} {answer.reason[:60]}")
        if len(body) > MAX_ANSWER_BYTES:
            raise Unreadable(f"an answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
        return body
