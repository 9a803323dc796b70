"""Whether the places that a TLSRPT record names can take reports (RFC 8460 section 3)."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from mailward.core.check.facts import Lookup, ReportTarget
from mailward.core.tlsrpt.record import RecordError, Target, parse_record
from mailward.net.guard import Guard
from mailward.net.smtpdial import NO_ROUTE
from mailward.net.tlsdial import TlsFailed, look_at_tls

MAX_TARGETS = 10
CONNECT_SECONDS = 20.0

LookUp = Callable[[str, str], Awaitable[Lookup]]


async def observe_targets(record: Lookup, look_up: LookUp, guard: Guard) -> tuple[ReportTarget, ...]:
    try:
        targets = parse_record(record.texts).targets[:MAX_TARGETS]
    except RecordError:
        return ()
    return tuple(await asyncio.gather(*(_observe(target, look_up, guard) for target in targets)))


async def _observe(target: Target, look_up: LookUp, guard: Guard) -> ReportTarget:
    if target.scheme == "mailto":
        domain = target.address.rpartition("@")[2].lower()
        return ReportTarget(target.uri, domain, *await _takes_mail(domain, look_up))
    parts = urlsplit(target.uri)
    host = parts.hostname or ""
    return ReportTarget(target.uri, host, *await _answers(host, parts.port or 443, look_up, guard))


async def _takes_mail(domain: str, look_up: LookUp) -> tuple[bool | None, str]:
    mx = await look_up(domain, "MX")
    if mx.has_failed:
        return None, mx.reason
    if mx.was_found:
        is_null = all(record.partition(" ")[2] in (".", "") for record in mx.records)
        return not is_null, "null MX: the domain takes no mail" if is_null else ""
    has_address, reason = await _has_address(domain, look_up)
    return has_address, f"no MX record, {reason}" if reason else ""


async def _has_address(host: str, look_up: LookUp) -> tuple[bool | None, str]:
    v4, v6 = await asyncio.gather(look_up(host, "A"), look_up(host, "AAAA"))
    if v4.was_found or v6.was_found:
        return True, ""
    if v4.has_failed or v6.has_failed:
        return None, v4.reason or v6.reason
    return False, "no address"


async def _answers(host: str, port: int, look_up: LookUp, guard: Guard) -> tuple[bool | None, str]:
    """Whether it does TLS at all. RFC 8460 §3: who posts reports may pass over the certificate's faults."""
    v4, v6 = await asyncio.gather(look_up(host, "A"), look_up(host, "AAAA"))
    addresses = [address for address in v4.records + v6.records if guard.allows(address)]
    if not addresses:
        if v4.has_failed or v6.has_failed:
            return None, v4.reason or v6.reason
        return False, "no address that may be connected to"
    known, reason = False, ""
    for address in addresses[:4]:
        try:
            await look_at_tls(host, address, port, ca_file=None, seconds=CONNECT_SECONDS)
        except TimeoutError:
            reason = f"{address} did not answer within {CONNECT_SECONDS:g} seconds"
        except OSError as error:
            known = known or error.errno not in NO_ROUTE
            reason = f"{address}, port {port}: {error.strerror or error}"
        except TlsFailed as error:
            known, reason = True, f"{address}, port {port}: no TLS, {error}"
        else:
            return True, ""
    return (False if known else None), reason
