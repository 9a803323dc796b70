"""What our zone says: for each domain, below a label that nobody guesses, what its CNAMEs lead to.

_mta-sts.<token>.<zone>     TXT    v=STSv1; id=...;        while a policy is announced
_tlsrpt.<token>.<zone>      TXT    v=TLSRPTv1; rua=...
mta-sts.<token>.<zone>      A, AAAA of the policy host, or a CNAME to it
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from mailward.config import Settings, SettingsError
from mailward.core.dns.wire import Type
from mailward.core.dns.zone import Authority, Record, Soa, make_zone
from mailward.core.mtasts import record as sts
from mailward.core.tlsrpt import record as tlsrpt
from mailward.store.queries.hosting import Delegation, Delegations

POLICY_HOST, STS, TLSRPT = "mta-sts", "_mta-sts", "_tlsrpt"


def make_authority(settings: Settings, known: Delegations) -> Authority:
    """Raises SettingsError where the settings make no zone."""
    own = settings.nameserver
    servers = [_split_server(text) for text in own.servers] or [(f"ns1.{own.zone}", ())]
    soa = Soa(
        servers[0][0],
        own.contact or f"hostmaster@{own.zone}",
        # RFC 1982: it may wrap around, and a secondary goes on following
        serial=known.generation % 2**32,
    )
    try:
        return Authority([make_zone(own.zone, soa, _records(settings, servers, known.delegations))])
    except ValueError as error:
        raise SettingsError(f"settings: nameserver: {error}") from error


def _records(
    settings: Settings, servers: list[tuple[str, tuple[str, ...]]], known: Iterable[Delegation]
) -> Iterator[Record]:
    own, ttl = settings.nameserver, settings.nameserver.ttl_seconds
    for name, addresses in servers:
        yield Record(own.zone, Type.NS, name, 3600)
        for address in addresses:
            yield _address(name, address, 3600)
    for each in known:
        below = f"{each.token}.{own.zone}"
        if own.policy_addresses:
            for address in own.policy_addresses:
                yield _address(f"{POLICY_HOST}.{below}", address, ttl)
        else:
            yield Record(f"{POLICY_HOST}.{below}", Type.CNAME, settings.policy_host.public_name, ttl)
        target = tlsrpt.mailto_target(f"{each.report_token}@{settings.reports.domain}")
        yield Record(f"{TLSRPT}.{below}", Type.TXT, tlsrpt.serialise_record(tlsrpt.Record((target,))), ttl)
        if each.policy_id is not None:
            text = sts.serialise_record(sts.Record(each.policy_id))
            yield Record(f"{STS}.{below}", Type.TXT, text, ttl)


def _address(name: str, address: str, ttl: int) -> Record:
    return Record(name, Type.A if ip_address(address).version == 4 else Type.AAAA, address, ttl)


def _split_server(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, addresses = text.partition("=")
    return name, tuple(address for address in addresses.split(",") if address)
