"""Report mail that came back: whose it was, and whether it is lost (RFC 3464).

A bounce names its delivery by the token of the envelope sender or of the Message-ID that it returns. Nobody who has not
seen the report can make one up.
"""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import Message

MAX_BOUNCE_BYTES = 1024 * 1024
_MAX_TOKENS = 100
_MAX_PARTS = 50
_TOKEN = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_FAILED = ("failed",)


@dataclass(frozen=True, slots=True)
class Bounce:
    tokens: tuple[str, ...]
    """That stand in it, most of them nobody's."""
    is_failure: bool
    """Not a delay, a receipt or the answer of a robot."""
    reason: str


def read_bounce(raw: bytes, envelope_recipient: str = "") -> Bounce:
    """Never raises; what cannot be understood is no failure."""
    raw = raw[:MAX_BOUNCE_BYTES]
    found = dict.fromkeys(_TOKEN.findall(envelope_recipient.encode("ascii", "replace").lower()))
    for token in _TOKEN.finditer(raw.lower()):
        found[token[0]] = None
        if len(found) >= _MAX_TOKENS:
            break
    action, reason = _read_status(message_from_bytes(raw, policy=policy.compat32))
    return Bounce(tuple(token.decode() for token in found), action in _FAILED, reason)


def _read_status(mail: Message) -> tuple[str, str]:
    """Action and diagnosis of the first recipient that failed, else of the first at all."""
    found = ("", "")
    for at, part in enumerate(mail.walk()):
        if at >= _MAX_PARTS:
            break
        if part.get_content_type() not in ("message/delivery-status", "message/global-delivery-status"):
            continue
        blocks = part.get_payload()
        for block in blocks if isinstance(blocks, list) else ():
            if not isinstance(block, Message) or "action" not in block:
                continue
            action = str(block["action"]).partition(";")[0].strip().lower()
            text = " ".join(str(block.get("diagnostic-code") or block.get("status") or "").split())
            if action in _FAILED:
                return action, text[:300]
            found = found if found[0] else (action, text[:300])
    return found
