"""A dry run: the facts as they would be if something were published that is not yet. Everything else stays as seen."""

from dataclasses import replace

from mailward.core.check.facts import Facts, Fetch, Found, Lookup, MxHost, PolicyHost
from mailward.core.dane.tlsa import TlsaInvalid, parse_tlsa
from mailward.core.names import InvalidName, parse_domain

_RECORD = "v=STSv1; id=supposed;"
_PLACE = "as supposed"


class SuppositionWrong(ValueError):
    """What is supposed cannot be read; the text says why."""

    code = "supposition"


def suppose_policy(facts: Facts, body: bytes) -> Facts:
    """The policy is served wherever the policy host works, or as if it worked, and a record announces it."""
    host = facts.policy_host
    served = tuple(replace(fetch, body=body) for fetch in host.fetches if fetch.has_body)
    if not served:
        address = Lookup(host.name, "A", Found.FOUND, (_PLACE,))
        host = PolicyHost(address, replace(host.v6, found=Found.NODATA, records=()))
        served = (Fetch(_PLACE, body=body),)
    sts = facts.sts
    if not any(text.startswith(b"v=STSv1;") for text in sts.texts):
        sts = Lookup(sts.name, "TXT", Found.FOUND, (_RECORD,), (_RECORD.encode(),))
    supposed = (*facts.supposed, "this policy is served")
    # nobody has asked for it as another client
    host = replace(host, fetches=served, as_others=None)
    return replace(facts, policy_host=host, sts=sts, supposed=supposed)


def suppose_tlsa(facts: Facts, text: str) -> Facts:
    """`MX_HOST USAGE SELECTOR TYPE DATA`: the host has this TLSA record and no other that was there before, signed like
    its address. Several for one host add up. Raises SuppositionWrong.
    """
    name, _, record = text.strip().partition(" ")
    try:
        host_name = parse_domain(name, allow_single=True)
        parse_tlsa(record)
    except (InvalidName, TlsaInvalid) as error:
        raise SuppositionWrong(f"{text[:60]!r} is not 'MX_HOST USAGE SELECTOR TYPE DATA': {error}") from error
    if host_name not in [host.name for host in facts.hosts]:
        raise SuppositionWrong(f"{host_name} is no MX host of {facts.domain}")
    hosts = tuple(_with_tlsa(host, record) if host.name == host_name else host for host in facts.hosts)
    return replace(facts, hosts=hosts, supposed=(*facts.supposed, f"TLSA {text.strip()}"))


def suppose_mx(facts: Facts, names: tuple[str, ...]) -> Facts:
    """Marks facts whose MX hosts were looked at because somebody named them."""
    return replace(facts, supposed=(*facts.supposed, f"MX {', '.join(names)}"))


def _with_tlsa(host: MxHost, record: str) -> MxHost:
    before = host.tlsa[0].records if host.tlsa and host.tlsa[0].reason == _PLACE else ()
    is_secure = all(lookup.is_secure for lookup in (host.v4, host.v6) if lookup.was_found)
    owner = f"_25._tcp.{host.name}"
    lookup = Lookup(owner, "TLSA", Found.FOUND, (*before, record), is_secure=is_secure, reason=_PLACE)
    return replace(host, tlsa=(lookup,))
