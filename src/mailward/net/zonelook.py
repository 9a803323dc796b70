"""One authoritative server asked for a zone's SOA record, as a resolver of the world asks it: over UDP or TCP."""

import os

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

SECONDS = 4.0
_PAYLOAD = 1232  # DNS flag day 2020


class NotServed(Exception):
    """The server does not answer for the zone; the text says what it did."""

    def __init__(self, text: str, *, answered: bool) -> None:
        super().__init__(text)
        self.answered = answered
        """Somebody is there, who is no authority for the zone."""


async def ask_serial(zone: str, address: str, port: int = 53, *, tcp: bool = False) -> int:
    """The SOA serial. Raises NotServed."""
    query = dns.message.make_query(zone, "SOA", use_edns=0, payload=_PAYLOAD)
    query.flags = dns.flags.Flag(0)
    try:
        if tcp:
            response = await dns.asyncquery.tcp(query, address, SECONDS, port)
        else:
            response = await dns.asyncquery.udp(
                query, address, SECONDS, port, ignore_unexpected=True, ignore_errors=True
            )
    except dns.exception.Timeout as error:
        raise NotServed("no answer in time", answered=False) from error
    except OSError as error:
        raise NotServed(_say(error), answered=False) from error
    except (dns.exception.DNSException, EOFError, ValueError) as error:
        raise NotServed("what it answers is no DNS", answered=True) from error
    if response.rcode() != dns.rcode.NOERROR:
        raise NotServed(f"it answers {dns.rcode.to_text(response.rcode())}", answered=True)
    found = [rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.SOA]
    if not response.flags & dns.flags.AA or not found:
        raise NotServed("it is no authority for the zone", answered=True)
    return int(found[0][0].serial)


async def ask_resolver(name: str, address: str, port: int = 53, *, tcp: bool = False) -> bool:
    """Whether this resolver answers a question at all, whatever the answer, with EDNS. Raises NotServed."""
    query = dns.message.make_query(name, "SOA", use_edns=0, payload=_PAYLOAD)
    ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    try:
        response = await ask(query, address, SECONDS, port)
    except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
        raise NotServed(_say(error), answered=False) from error
    return response.edns >= 0


def _say(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()  # asyncio puts sentences of its own into strerror
    return str(error) or type(error).__name__
