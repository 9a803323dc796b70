"""Whether the places that a TLSRPT record names can take reports (RFC 8460 section 3)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from mailward.core.check.facts import Lookup, ReportTarget
from mailward.core.tlsrpt.record import RecordError, Target, parse_record
from mailward.net.guard import AddressRefused, Guard, OwnAddressRefused
from mailward.net.quota import Quota
from mailward.net.smtpdial import NO_ROUTE
from mailward.net.tlsdial import TlsFailed, look_at_tls

MAX_TARGETS = 10
CONNECT_SECONDS = 20.0
MAX_ADDRESSES = 4  # of one target
NOWHERE = "no address that may be connected to"

LookUp = Callable[[str, str], Awaitable[Lookup]]


async def observe_targets(
    record: Lookup, look_up: LookUp, guard: Guard, quota: Quota | None = None
) -> tuple[ReportTarget, ...]:
    try:
        targets = parse_record(record.texts).targets[:MAX_TARGETS]
    except RecordError:
        return ()
    return tuple(await asyncio.gather(*(_observe(target, look_up, guard, quota) for target in targets)))


async def _observe(target: Target, look_up: LookUp, guard: Guard, quota: Quota | None) -> ReportTarget:
    if target.scheme == "mailto":
        domain = target.address.rpartition("@")[2].lower()
        return ReportTarget(target.uri, domain, *await _takes_mail(domain, look_up))
    parts = urlsplit(target.uri)
    host = parts.hostname or ""
    addresses, reason = await _addresses(host, look_up)
    if not addresses:
        return ReportTarget(target.uri, host, None if reason else False, reason or NOWHERE)
    return ReportTarget(target.uri, host, *await _answers(host, addresses, parts.port or 443, guard, quota))


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


async def _addresses(host: str, look_up: LookUp) -> tuple[tuple[str, ...], str]:
    """Without any: why they are not known, or empty where there are none."""
    v4, v6 = await asyncio.gather(look_up(host, "A"), look_up(host, "AAAA"))
    failed = v4.has_failed or v6.has_failed
    return v4.records + v6.records, (v4.reason or v6.reason or "the lookup failed") if failed else ""


async def _answers(
    host: str, addresses: Sequence[str], port: int, guard: Guard, quota: Quota | None
) -> tuple[bool | None, str]:
    """Whether it does TLS at all. RFC 8460 §3: who posts reports may pass over the certificate's faults."""
    known, reason = False, ""
    usable, refusal = _usable(addresses, port, guard)
    if not usable:
        return (None, str(refusal)) if isinstance(refusal, OwnAddressRefused) else (False, NOWHERE)
    for address in usable[:MAX_ADDRESSES]:
        if (
            quota is not None
            and not guard.is_served_here(address, port)
            and (full := await quota.take(address, 1))
        ):
            reason = f"{address}: {full}"
            continue
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


def _usable(addresses: Sequence[str], port: int, guard: Guard) -> tuple[list[str], AddressRefused | None]:
    """Those that may be connected to; and why another may not, our own address before others."""
    usable, refusals = [], []
    for address in addresses:
        try:
            guard.check(address, port)
            usable.append(address)
        except AddressRefused as error:
            refusals.append(error)
    own = [error for error in refusals if isinstance(error, OwnAddressRefused)]
    return usable, next(iter(own or refusals), None)
