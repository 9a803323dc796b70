"""From bytes to what the store takes: read, judge, route. One path for every channel.

Three steps, so that the slow one between them can wait for DNS without holding anything:

    draft = read_arrival(arrival, limits)                # CPU only
    keys = await finder.find(draft.signatures)           # network only
    incoming = draft.judged(judge_mail(draft, keys, domain))   # neither
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from mailward.config import Settings
from mailward.core.dkim import (
    MAX_TRIED,
    KeyAnswer,
    Malformed,
    Message,
    Result,
    Signature,
    find_signatures,
    only_address,
    split_message,
    verify,
    vouched_domain,
)
from mailward.core.tlsrpt.canonical import content_hash
from mailward.core.tlsrpt.deviations import Deviation
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import Limits
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import Reading
from mailward.core.tlsrpt.routing import Address, route
from mailward.core.tlsrpt.schema import Report
from mailward.ingest.addresses import ReportAddress
from mailward.store.models import Door, Trust
from mailward.store.packed import pack
from mailward.store.services.incoming import (
    Incoming,
    Judgement,
    OwnedShare,
    ReportDigest,
    Stored,
    digest_report,
)
from mailward.store.services.reports import store_batch

MAX_DEVIATIONS = 500
"""Kept with one report; a thousandth oddity tells nobody more."""
READER_FAILED = "reader-failed"
"""The one quarantine code that is no deviation: the mistake is ours."""
_log = logging.getLogger("mailward.ingest")
_OF_REPORT = re.compile(r"reports\[(\d+)\]")

_TRUST = {
    Result.PASS: Trust.VERIFIED,
    Result.FAIL: Trust.FAILED,
    Result.ABSENT: Trust.UNVERIFIED,
    Result.KEY_GONE: Trust.UNVERIFIED,
    Result.TEMPORARY: Trust.PENDING,
}
_BY_DOOR = {
    Door.IMPORT: Judgement(Trust.VOUCHED_PERSON, detail="Imported by mailward report import."),
    Door.UPLOAD: Judgement(Trust.VOUCHED_PERSON, detail="Uploaded by a person who is signed in."),
    # the address is public (it stands in DNS), so knowing it proves nothing
    Door.HTTPS: Judgement(Trust.UNVERIFIED, detail="It came by HTTPS, which does not say who sent it."),
}


class Arrival(msgspec.Struct, frozen=True):
    """Bytes that came through a door for one address."""

    door: Door
    address: ReportAddress
    content: bytes
    received_at: datetime
    name: str = ""
    """The file name of an upload or import."""
    imported_by: int | None = None
    """The person who uploaded it."""
    from_relay: bool = False
    """It came from a relay of ours, whose Authentication-Results may be believed."""


class Draft(msgspec.Struct, frozen=True):
    """An arrival, read; nobody has judged it yet."""

    arrival: Arrival
    reports: tuple[ReportDigest, ...] = ()
    report_ids: tuple[str, ...] = ()
    unreadable: tuple[str, str] | None = None
    """Why all of it, or beside `reports` a part of it, cannot be read."""
    tls_report_domain: str = ""
    mail: Message | None = None
    """A mail as DKIM sees it; None where it is none, or has no header that can be judged."""
    signatures: tuple[Signature, ...] = ()
    """What could make it verified."""

    def judged(self, judgement: Judgement, test_domain_id: int | None = None) -> Incoming:
        arrival = self.arrival
        return Incoming(
            organisation_id=arrival.address.organisation_id,
            address_domain_id=arrival.address.domain_id,
            door=arrival.door,
            content=arrival.content,
            received_at=arrival.received_at,
            judgement=judgement,
            reports=self.reports,
            unreadable=self.unreadable,
            name=arrival.name,
            imported_by=arrival.imported_by,
            tls_report_domain=self.tls_report_domain,
            test_domain_id=test_domain_id,
            from_relay=arrival.from_relay,
        )


def read_arrival(arrival: Arrival, limits: Limits) -> Draft:
    """Never raises for what the bytes hold: what cannot be read says so."""
    try:
        return _read(arrival, limits)
    except Unreadable as error:
        return Draft(arrival, unreadable=(error.code, error.detail))
    except Exception:  # noqa: BLE001 - a mistake in our reader must not lose a report: it is read after an upgrade
        _log.exception("reader-failed", extra={"door": arrival.door.value, "bytes": len(arrival.content)})
        return Draft(
            arrival, unreadable=(READER_FAILED, "Mailward could not read it, by a mistake of its own.")
        )


def _read(arrival: Arrival, limits: Limits) -> Draft:
    content, now = arrival.content, arrival.received_at
    is_mail = arrival.door is Door.SMTP
    if is_mail:
        reading = read_mail(content, now=now, limits=limits)
    else:
        reading = read_bytes(content, name=arrival.name, now=now, limits=limits)
    mail = _split(content) if is_mail else None
    mail_domain = reading.mail.tls_report_domain if reading.mail else None
    return Draft(
        arrival,
        reports=tuple(
            _digest(report, at, reading, arrival.address, mail_domain)
            for at, report in enumerate(reading.reports)
        ),
        report_ids=tuple(report.report_id or "" for report in reading.reports),
        unreadable=reading.unread,
        tls_report_domain=mail_domain or "",
        mail=mail,
        signatures=find_signatures(mail) if mail else (),
    )


def _split(content: bytes) -> Message | None:
    try:
        return split_message(content)
    except Malformed:
        return None


def judge_mail(
    draft: Draft, keys: Mapping[str, KeyAnswer], report_domain: str, *, authserv_ids: Collection[str] = ()
) -> Judgement:
    """Who vouches for a mail: its signer, or else the relay of ours that it came from, with one of `authserv_ids`.

    `report_domain`: that of our report addresses.
    """
    arrival = draft.arrival
    return judge_content(
        draft.mail or arrival.content,
        keys,
        arrival.received_at,
        f"{arrival.address.token}@{report_domain}",
        draft.signatures,
        authserv_ids=authserv_ids if arrival.from_relay else (),
    )


def judge_content(
    content: bytes | Message,
    keys: Mapping[str, KeyAnswer],
    received_at: datetime,
    address: str,
    signatures: Sequence[Signature] | None = None,
    *,
    authserv_ids: Collection[str] = (),
) -> Judgement:
    """As judge_mail, of bytes that were read before, which came to `address`."""
    verdict = verify(content, keys, received_at, signatures)
    holding: tuple[Signature, ...] = () if verdict.signature is None else (verdict.signature,)
    trust = _TRUST[verdict.result]
    signer = verdict.domain if trust is Trust.VERIFIED else ""
    detail = verdict.detail
    if trust is not Trust.VERIFIED and authserv_ids:
        vouched = vouched_domain(content, authserv_ids)
        if vouched is not None and not _leaves_room(content, signatures, vouched):
            trust, signer = Trust.VOUCHED_RELAY, vouched
            found = find_signatures(content) if signatures is None else signatures
            # which of them the relay found good it does not say; beyond MAX_TRIED there may be another
            holding = (
                tuple(each for each in found if each.domain == vouched) if len(found) < MAX_TRIED else ()
            )
            detail = f"Our relay found a good signature of {vouched}. {detail}".strip()
    return Judgement(trust, verdict.result.value, detail, signer, _says_whose(content, holding, address))


def _says_whose(content: bytes | Message, holding: Sequence[Signature], address: str) -> bool:
    """Whether each of these signatures covers where the report belongs: TLS-Report-Domain, or our address in To.

    RFC 8460 §5.3 says that the former SHOULD be signed. In To the address must stand alone: of two addresses, the
    other's owner has the same mail, and could change what is not signed.
    """
    message = content if isinstance(content, Message) else _split(content)
    if message is None or not holding:
        return False
    if all(each.covers(message, b"tls-report-domain") for each in holding):
        return True
    return only_address(message, b"to") == address.lower() and all(
        each.covers(message, b"to") for each in holding
    )


def _leaves_room(content: bytes | Message, signatures: Sequence[Signature] | None, domain: str) -> bool:
    """Whether all that `domain` signed is a part of the body (l=), to which a stranger may have added a report.

    RFC 8460 §3 forbids it, which a relay that judges any mail alike does not know.
    """
    found = find_signatures(content) if signatures is None else signatures
    lengths = [signature.has_length for signature in found if signature.domain == domain]
    return bool(lengths) and all(lengths)


def judge_by_door(arrival: Arrival) -> Judgement:
    """Who vouches for what is no mail of a stranger."""
    return _BY_DOOR[arrival.door]


def accept_now(arrival: Arrival, limits: Limits) -> Stored:
    """Read and store an upload or import at once; committed when this returns.

    Raises django.db.OperationalError when the database is busy or full.
    """
    draft = read_arrival(arrival, limits)
    return store_batch([draft.judged(judge_by_door(arrival))])[0]


def limits_of(settings: Settings) -> Limits:
    return Limits(max_inflated_bytes=settings.reports.max_inflated_bytes)


def _digest(
    report: Report, at: int, reading: Reading, address: ReportAddress, mail_domain: str | None
) -> ReportDigest:
    shares = route(report, Address(address.owned, address.domain_name), mail_domain)
    return digest_report(
        report,
        content_hash(report),
        pack(encode_json(report)),
        pack(encode_json(_deviations_of(reading, at))),
        (
            OwnedShare(
                None if share.domain is None else address.owned[share.domain],
                share.domain or "",
                share.policies,
            )
            for share in shares
        ),
    )


def _deviations_of(reading: Reading, at: int) -> list[Deviation]:
    """Those of the report in this place, and those of what it came in."""
    if len(reading.reports) == 1:
        return list(reading.deviations[:MAX_DEVIATIONS])
    kept = []
    for deviation in reading.deviations:
        match = _OF_REPORT.match(deviation.where)
        if match is None or int(match[1]) == at:
            kept.append(deviation)
    return kept[:MAX_DEVIATIONS]


def encode_json(value: object) -> bytes:
    """JSON in UTF-8. A lone surrogate, which JSON can escape and UTF-8 cannot hold, becomes "?"."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
