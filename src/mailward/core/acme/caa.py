"""Whether a CA may issue for a name: CAA records (RFC 8659), with account and method (RFC 8657)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_RECORD = re.compile(
    r'(?P<flags>\d{1,3}) (?P<tag>[A-Za-z0-9]{1,255}) "?(?P<value>(?:[^"\\]|\\.)*)"?', re.ASCII
)
_CRITICAL = 128
_KNOWN = frozenset({"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"})


@dataclass(frozen=True, slots=True)
class Asked:
    """Who would issue, and how."""

    identities: frozenset[str]
    """The CA's domains, as its directory names them (`caaIdentities`)."""
    account: str
    method: str
    """`http-01` or `dns-01`."""


def why_forbidden(records: Sequence[str], asked: Asked) -> str:
    """Empty where the records, in presentation form, let this CA issue for a name without wildcard; else why not.

    No record: any CA may. A CA that does not say who it is cannot be judged, and judges itself.
    """
    parsed = [match for record in records if (match := _RECORD.fullmatch(record.strip())) is not None]
    if len(parsed) < len(records):
        return "a CAA record cannot be read"
    for match in parsed:
        # RFC 8659 §4.1: a critical property that we do not know forbids
        if int(match["flags"]) & _CRITICAL and match["tag"].lower() not in _KNOWN:
            return f"the CAA record with the critical property {match['tag']!r} forbids every CA"
    issues = [match["value"] for match in parsed if match["tag"].lower() == "issue"]
    if not issues or not asked.identities:
        return ""
    reasons = [_why_not(value, asked) for value in issues]
    if "" in reasons:
        return ""
    named = sorted(asked.identities)
    fitting = [reason for value, reason in zip(issues, reasons, strict=True) if _issuer(value) in named]
    if fitting:
        return fitting[0]
    return f"the CAA records allow {_list(_issuer(value) for value in issues)}, not {' or '.join(named)}"


def _why_not(value: str, asked: Asked) -> str:
    if _issuer(value) not in asked.identities:
        return "another CA"
    parameters = _parameters(value)
    methods = parameters.get("validationmethods")
    if methods is not None and asked.method not in {method.strip().lower() for method in methods.split(",")}:
        return f"the CAA record allows the validation methods {methods}, not {asked.method}"
    account = parameters.get("accounturi")
    if account is not None and account != asked.account:
        return f"the CAA record allows the account {account}, not {asked.account or 'a new one'}"
    return ""


def _issuer(value: str) -> str:
    return value.partition(";")[0].strip().lower().removesuffix(".")


def _parameters(value: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(";")[1:])
    return {name.strip().lower(): text.strip() for name, _, text in pairs if name.strip()}


def _list(issuers: Iterable[str]) -> str:
    allowed = sorted({issuer for issuer in issuers if issuer})
    return ", ".join(allowed) if allowed else "no CA at all"
