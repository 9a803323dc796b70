"""The console behind a front, a web server of the operator's with TLS: whom it speaks for.

Log-ins are limited by the client's address (allauth), which behind a front is the front's own, for all people. A front
adds its client's to X-Forwarded-For, and is believed where `console.proxies` names it. Nobody is by default, not even
this machine: nginx passes on what the client itself wrote there unless it is told not to.

X-Forwarded-Proto is not read: links and cookies have their scheme from `console.public_url`.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from mailward.net.networks import Networks

FORWARDED = b"x-forwarded-for"
_MAX_HOPS = 16
Message = dict[str, Any]  # ASGI's messages are untyped


class Fronted:
    """An ASGI application that knows the client, and not the front, as its peer."""

    def __init__(self, application: Any, proxies: Sequence[str]) -> None:  # noqa: ANN401 - ASGI is untyped
        self.application = application
        self._proxies = Networks(proxies)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401
        peer = (scope.get("client") or ("", 0))[0]
        if self._proxies.include(peer):
            scope = {**scope, "client": (self._client(peer, scope["headers"]), 0)}
        await self.application(scope, receive, send)

    def _client(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """The last address that is no front itself. What stands before it is the client's own word."""
        # RFC 9110 §5.3: lines of one name are one list, in their order
        told = b",".join(value for name, value in headers if name == FORWARDED).decode("latin-1")
        for text in reversed(told.split(",")[-_MAX_HOPS:]):
            try:
                address = str(ipaddress.ip_address(text.strip()))
            except ValueError:
                break
            if not self._proxies.include(address):
                return address
        return peer
