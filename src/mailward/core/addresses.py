"""Mail addresses that may stand in a header and an envelope: dot-string and domain name (RFC 5321 section 4.1.2)."""

import re

from mailward.core.names import parse_domain

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1


def parse_address(text: str) -> str:
    """With the canonical form of its domain. Raises ValueError with one sentence: also for quoted local parts and
    those of SMTPUTF8, which not every server takes.
    """
    local, _, domain = text.rpartition("@")
    if len(local) > _MAX_LOCAL_PART or not _LOCAL_PART.fullmatch(local):
        raise ValueError(f"{text[:100]!r} is no mail address that we can write to")
    return f"{local}@{parse_domain(domain, allow_single=True)}"
