"""Questions to servers that may be hostile, by way of dnspython, whose reading is bounded here.

A pointer gives a record a name of 127 labels for two octets, and dnspython takes milliseconds for each such name: 64
KiB of them, as many as a response may have, are ten seconds and more, in which an event loop does nothing else.
"""

import asyncio
import struct
from typing import Any

import dns.message
import dns.query

from mailward.net import quickdns
from mailward.net.answers import MAX_RECORDS

INLINE_RECORDS = 50
"""More are read in a thread, and the loop goes on."""
_HEADER = 12
_LENGTH = 2


async def read_message(wire: bytes, **options: Any) -> dns.message.Message:  # noqa: ANN401 - dnspython's own
    """What dnspython makes of it. Raises DNSException, and ValueError for more records than anybody needs."""
    if len(wire) < _HEADER:
        raise ValueError("it is too short for a message")
    records = sum(struct.unpack_from("!HHHH", wire, 4)) - 1
    if records > MAX_RECORDS:
        raise ValueError(f"a message of {records} records")
    if records > INLINE_RECORDS:
        return await asyncio.to_thread(dns.message.from_wire, wire, **options)
    return dns.message.from_wire(wire, **options)


async def ask(
    query: dns.message.Message, address: str, port: int, seconds: float, channels: quickdns.QuickDns
) -> dns.message.Message:
    """By UDP, and by TCP where the answer does not fit. The query has plain EDNS for 1,232 octets.

    Forged packets are passed over until the time is over (RFC 5452). Raises DNSException, OSError, EOFError,
    ValueError.
    """
    async with asyncio.timeout(seconds):
        wire = await channels.exchange(query.to_wire(), address, port, seconds)
        try:
            return await read_message(wire, ignore_trailing=True, raise_on_truncation=True)
        except dns.message.Truncated:
            return await ask_by_tcp(query, address, port, seconds)


async def ask_by_tcp(
    query: dns.message.Message, address: str, port: int, seconds: float
) -> dns.message.Message:
    """Signed where the query is. Raises DNSException, OSError, EOFError, ValueError."""
    wire = query.to_wire()
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(len(wire).to_bytes(_LENGTH, "big") + wire)
            length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
            answer = await reader.readexactly(length)
        finally:
            writer.transport.abort()
        response = await read_message(answer, keyring=query.keyring, request_mac=query.mac or b"")
    if not query.is_response(response):
        raise dns.query.BadResponse
    return response
