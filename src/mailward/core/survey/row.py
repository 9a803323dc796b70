"""From facts and their judgement to a row, and back to the facts."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailward.core.check.facts import Facts, Fetch, Found, Lookup, MxHost, PolicyHost, ReportTarget, Session
from mailward.core.mtasts.policy import Policy, lint_policy
from mailward.core.mtasts.record import RecordError
from mailward.core.mtasts.record import parse_record as parse_sts
from mailward.core.names import Domain
from mailward.core.survey.classes import classify
from mailward.core.survey.columns import AT, COLUMNS, Row, Value
from mailward.core.survey.judging import Judgement
from mailward.core.survey.listing import Entry
from mailward.core.tlsrpt.record import parse_record as parse_tlsrpt

MAX_POLICY_TEXT = 4096
NOT_ASKED = "not asked: no record announces a policy"
"""The reason of the lookups of a policy host that nobody asked for."""
_AT_STATUS, _AT_ERROR = AT["status"], AT["error"]


def make_error_row(entry: Entry, at: datetime, took_ms: int, error: str) -> Row:
    row: list[Value] = [None] * len(COLUMNS)
    row[:5] = entry.line, entry.rank, entry.domain, write_time(at), took_ms
    row[_AT_STATUS], row[_AT_ERROR] = "error", error[:500]
    return tuple(row)


def make_row(entry: Entry, facts: Facts, judged: Judgement, took_ms: int, providers: Iterable[str]) -> Row:
    mx, sts, tlsrpt = facts.mx, facts.sts, facts.tlsrpt
    exchangers = [record.partition(" ")[2] for record in mx.records]
    return (
        entry.line,
        entry.rank,
        entry.domain,
        write_time(facts.at),
        took_ms,
        "ok",
        None,
        facts.validates,
        mx.found,
        mx.reason or None,
        "; ".join(mx.records) or None,
        " ".join(mx.chain) or None,
        bool(exchangers) and all(name in (".", "") for name in exchangers),
        mx.is_secure,
        facts.skipped_hosts,
        " ".join(dict.fromkeys(providers)) or None,
        write_hosts(facts.hosts),
        sts.found,
        sts.reason or None,
        _write_texts(sts),
        " ".join(sts.chain) or None,
        sts.is_secure,
        *_policy_cells(facts),
        tlsrpt.found,
        tlsrpt.reason or None,
        _write_texts(tlsrpt),
        " ".join(tlsrpt.chain) or None,
        _write_rua(tlsrpt),
        _write_targets(facts),
        judged.dane or None,
        _say_starttls(facts),
        _write_sessions(facts),
        " ".join(judged.codes) or None,
        judged.worst,
        " ".join(classify(judged.codes)) or None,
        *judged.outcomes,
    )


_NO_POLICY: tuple[Value, ...] = (None, "not-asked", *(None,) * 9)


def _policy_cells(facts: Facts) -> tuple[Value, ...]:
    """From `sts_id` to `policy_mx`."""
    host = facts.policy_host
    if not facts.sts.texts and host.v4.reason == NOT_ASKED:
        return _NO_POLICY
    try:
        policy_id = parse_sts(facts.sts.texts).policy_id
    except RecordError:
        policy_id = None
    fetch = host.fetches[-1] if host.fetches else None
    status = "not-asked" if host.v4.reason == NOT_ASKED else "no-address"
    if fetch is not None:
        status = fetch.error or "ok"
    policy = None
    if fetch is not None and fetch.has_body and policy_id is not None:
        policy, _ = lint_policy(fetch.body)
    body = fetch.body if fetch is not None and fetch.has_body else None
    return (
        policy_id,
        status,
        (fetch.message or None) if fetch else None,
        fetch.status if fetch else None,
        fetch.address if fetch else None,
        None
        if status == "not-asked"
        else _dump({"a": _write_lookup(host.v4), "aaaa": _write_lookup(host.v6)}),
        body[:MAX_POLICY_TEXT].decode("latin-1") if body is not None else None,
        len(body) if body is not None else None,
        *_describe_policy(policy),
    )


def _describe_policy(policy: Policy | None) -> tuple[Value, Value, Value]:
    if policy is None:
        return None, None, None
    return policy.mode.value, policy.max_age_seconds, " ".join(policy.mx) or None


def _write_texts(lookup: Lookup) -> str | None:
    return _dump([text.decode("latin-1") for text in lookup.texts]) if lookup.texts else None


def _write_rua(lookup: Lookup) -> str | None:
    if not lookup.texts:
        return None
    try:
        return " ".join(target.uri for target in parse_tlsrpt(lookup.texts).targets) or None
    except RecordError:
        return None


def _write_targets(facts: Facts) -> str | None:
    if not facts.targets:
        return None
    return _dump(
        [
            {"uri": each.uri, "host": each.host, "takes_reports": each.takes_reports, "reason": each.reason}
            for each in facts.targets
        ]
    )


def _write_lookup(lookup: Lookup) -> dict[str, object]:
    """Without what is empty."""
    written: dict[str, object] = {"status": lookup.found}
    if lookup.records:
        written["records"] = lookup.records
    if lookup.is_secure:
        written["secure"] = True
    if lookup.chain:
        written["cnames"] = lookup.chain
    if lookup.reason:
        written["reason"] = lookup.reason
    return written


def _write_host(host: MxHost) -> dict[str, object]:
    written: dict[str, object] = {
        "name": host.name,
        "a": _write_lookup(host.v4),
        "aaaa": _write_lookup(host.v6),
    }
    if host.tlsa:
        written["tlsa"] = [{"name": each.name, **_write_lookup(each)} for each in host.tlsa]
    return written


def write_hosts(hosts: Sequence[MxHost]) -> str:
    """The cell `hosts`."""
    return _dump([_write_host(host) for host in hosts])


def _say_starttls(facts: Facts) -> str | None:
    """Of the hosts that were observed."""
    if not facts.has_smtp or not facts.hosts:
        return None
    hosts = [[each for each in host.sessions if each.is_observed] for host in facts.hosts]
    observed = [sessions for sessions in hosts if sessions]
    if not observed:
        return "not-observed"
    encrypted = sum(all(each.tls is not None for each in sessions) for sessions in observed)
    if encrypted == len(observed):
        return "all"
    return "some" if any(each.tls is not None for sessions in observed for each in sessions) else "none"


def _write_sessions(facts: Facts) -> str | None:
    if not facts.has_smtp:
        return None
    return _dump([_write_session(host.name, each) for host in facts.hosts for each in host.sessions])


def _write_session(host: str, session: Session) -> dict[str, object]:
    written: dict[str, object] = {"host": host, "address": session.address, "reach": session.reach.value}
    if session.reason:
        written["reason"] = session.reason
    written["starttls"] = session.offers_starttls
    if session.tls is not None:
        written["tls"] = session.tls.version
        written["errors"] = [error.number for error in session.tls.errors]
    elif session.tls_error or session.starttls_reply:
        written["tls_error"] = session.tls_error or session.starttls_reply
    return written


def write_time(at: datetime) -> str:
    """The cell `at`."""
    return (
        at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    )  # aware, UTC: strftime costs ten times that


def _dump(value: object) -> str:
    return msgspec.json.encode(value).decode()


def read_facts(row: Row) -> Facts:
    """The facts of a row whose status is `ok`, to judge them anew; without SMTP sessions, whose chains no row holds.

    A policy longer than `policy_text` is cut. Raises ValueError for what is no such row.
    """
    cells = dict(zip((column.name for column in COLUMNS), row, strict=True))
    domain = str(cells["domain"])
    if cells["status"] != "ok":
        raise ValueError(f"{domain}: nothing is known but {cells['error']}")
    return Facts(
        Domain(domain),
        datetime.fromisoformat(str(cells["at"])),
        bool(cells["dnssec_validated"]),
        Lookup(
            domain,
            "MX",
            Found(str(cells["mx_status"])),
            tuple(_split(cells["mx"], "; ")),
            (),
            bool(cells["mx_secure"]),
            tuple(_split(cells["mx_cnames"], " ")),
            str(cells["mx_reason"] or ""),
        ),
        tuple(_read_host(each) for each in json.loads(str(cells["hosts"]))),
        _read_txt(f"_mta-sts.{domain}", "sts", cells),
        (),
        _read_policy_host(domain, cells),
        _read_txt(f"_smtp._tls.{domain}", "tlsrpt", cells),
        tuple(
            ReportTarget(each["uri"], each["host"], each["takes_reports"], each["reason"])
            for each in json.loads(str(cells["tlsrpt_targets"] or "[]"))
        ),
        has_smtp=False,
        skipped_hosts=int(cells["mx_skipped"] or 0),
    )


def _split(cell: Value, separator: str) -> list[str]:
    return str(cell).split(separator) if cell else []


def _read_lookup(name: str, kind: str, written: dict[str, Any]) -> Lookup:  # Any: our own JSON
    return Lookup(
        name,
        kind,
        Found(written["status"]),
        tuple(written.get("records", ())),
        (),
        bool(written.get("secure")),
        tuple(written.get("cnames", ())),
        written.get("reason", ""),
    )


def _read_host(written: dict[str, Any]) -> MxHost:
    name = written["name"]
    tlsa = tuple(_read_lookup(each["name"], "TLSA", each) for each in written.get("tlsa", ()))
    return MxHost(
        name, _read_lookup(name, "A", written["a"]), _read_lookup(name, "AAAA", written["aaaa"]), tlsa
    )


def _read_txt(name: str, prefix: str, cells: dict[str, Value]) -> Lookup:
    texts = tuple(text.encode("latin-1") for text in json.loads(str(cells[f"{prefix}_records"] or "[]")))
    return Lookup(
        name,
        "TXT",
        Found(str(cells[f"{prefix}_status"])),
        tuple(text.decode("ascii", "backslashreplace") for text in texts),
        texts,
        bool(cells.get(f"{prefix}_secure")),
        tuple(_split(cells[f"{prefix}_cnames"], " ")),
        str(cells[f"{prefix}_reason"] or ""),
    )


def _read_policy_host(domain: str, cells: dict[str, Value]) -> PolicyHost:
    name, status = f"mta-sts.{domain}", str(cells["policy_status"])
    if status == "not-asked":
        return unasked_policy_host(name)
    lookups = json.loads(str(cells["policy_lookups"]))
    v4, v6 = _read_lookup(name, "A", lookups["a"]), _read_lookup(name, "AAAA", lookups["aaaa"])
    if status == "no-address":
        return PolicyHost(v4, v6)
    code = cells["policy_http_status"]
    fetch = Fetch(
        str(cells["policy_address"] or ""),
        "" if status == "ok" else status,
        str(cells["policy_message"] or ""),
        int(code) if code is not None else None,
        str(cells["policy_text"] or "").encode("latin-1"),
    )
    return PolicyHost(v4, v6, (fetch,))


def unasked_policy_host(name: str) -> PolicyHost:
    return PolicyHost(
        Lookup(name, "A", Found.NODATA, reason=NOT_ASKED),
        Lookup(name, "AAAA", Found.NODATA, reason=NOT_ASKED),
    )
