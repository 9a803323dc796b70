"""What was seen, as part of a document for programs: `facts` of `mailward check --json`."""

import hashlib

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.facts import Depth, Facts, Fetch, Lookup, MxHost, ReportTarget, Session, Tls
from mailward.core.check.view import View
from mailward.core.mtasts.record import Record

Json = dict[str, object]


def build_facts(facts: Facts) -> Json:
    view = View(facts)
    policy, record = view.served, view.record
    return {
        "dnssec_validated": facts.validates,
        "mx": _lookup(facts.mx),
        "hosts": [_host(host) for host in facts.hosts],
        "sts_record": _lookup(facts.sts),
        "sts_id": record.policy_id if isinstance(record, Record) else None,
        "policy_host": {
            "a": _lookup(facts.policy_host.v4),
            "aaaa": _lookup(facts.policy_host.v6),
            "caa": _lookup(facts.policy_host.caa) if facts.policy_host.caa else None,
            "fetches": [_fetch(fetch) for fetch in facts.policy_host.fetches],
            "as_others": _fetch(facts.policy_host.as_others) if facts.policy_host.as_others else None,
        },
        "policy": None
        if policy is None
        else {"mode": policy.mode.value, "max_age": policy.max_age_seconds, "mx": list(policy.mx)},
        "tlsrpt_record": _lookup(facts.tlsrpt),
        "targets": [_target(target) for target in facts.targets],
    }


def _lookup(lookup: Lookup) -> Json:
    return {
        "name": lookup.name,
        "type": lookup.kind,
        "status": lookup.found.value,
        "records": list(lookup.records),
        "dnssec": lookup.is_secure,
        "cnames": list(lookup.chain),
        "reason": lookup.reason or None,
    }


def _host(host: MxHost) -> Json:
    return {
        "name": host.name,
        "a": _lookup(host.v4),
        "aaaa": _lookup(host.v6),
        "tlsa": [_lookup(lookup) for lookup in host.tlsa],
        "sessions": [_session(session) for session in host.sessions],
    }


def _session(session: Session) -> Json:
    return {
        "address": session.address,
        "reach": session.reach.value,
        "observed": session.is_observed,
        "reason": session.reason or None,
        "banner": session.banner or None,
        "extensions": list(session.extensions),
        "starttls_reply": session.starttls_reply or None,
        "tls": _tls(session.tls),
        "tls_error": session.tls_error or None,
        "extensions_in_tls": list(session.extensions_in_tls),
        "depth": None if session.depth is None else _depth(session.depth),
    }


def _depth(depth: Depth) -> Json:
    return {
        "versions": [{"version": version, "cipher": cipher} for version, cipher in depth.versions],
        "accepts_injected": depth.accepts_injected,
        "ciphers": None
        if depth.ciphers is None
        else {
            "accepted": [
                {"version": version, "names": list(names)} for version, names in depth.ciphers.accepted
            ],
            "unfinished": depth.ciphers.unfinished or None,
        },
    }


def _tls(tls: Tls | None) -> Json | None:
    if tls is None:
        return None
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "chain": [_certificate(certificate) for certificate in read_chain(tls.chain)],
        "errors": [
            {"openssl": error.number, "depth": error.depth, "text": error.text} for error in tls.errors
        ],
    }


def _certificate(certificate: Certificate) -> Json:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "not_before": certificate.not_before.isoformat(timespec="seconds"),
        "not_after": certificate.not_after.isoformat(timespec="seconds"),
        "key": certificate.key,
        "sha256": hashlib.sha256(certificate.der).hexdigest(),
        "key_sha256": hashlib.sha256(certificate.public_key).hexdigest(),
    }


def _fetch(fetch: Fetch) -> Json:
    return {
        "address": fetch.address,
        "error": fetch.error or None,
        "message": fetch.message or None,
        "status": fetch.status,
        "body": fetch.body.decode("utf-8", "backslashreplace") if fetch.has_body else None,
        "tls": _tls(fetch.tls),
        "client": fetch.client or None,
    }


def _target(target: ReportTarget) -> Json:
    return {
        "uri": target.uri,
        "host": target.host,
        "takes_reports": target.takes_reports,
        "reason": target.reason or None,
        "took_trial": target.took_trial,
        "trial": target.trial or None,
    }
