"""The rules: each a pure function from the view to findings. A new one is a function and its place here."""

from collections.abc import Callable, Iterable

from mailward.core.check.finding import Finding
from mailward.core.check.rules import (
    caa,
    ciphers,
    cover,
    dane,
    dns,
    mxtls,
    policyhost,
    policytext,
    record,
    tlsrpt,
)
from mailward.core.check.view import View

Rule = Callable[[View], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    dns.mx_records,
    dns.mx_hosts,
    record.sts_record,
    policyhost.policy_host,
    caa.caa,
    policytext.policy_text,
    cover.cover,
    mxtls.starttls,
    mxtls.certificates,
    mxtls.addresses,
    mxtls.depth,
    ciphers.ciphers,
    dane.dnssec,
    dane.tlsa_records,
    dane.tlsa_elsewhere,
    dane.tlsa_match,
    tlsrpt.report_record,
    tlsrpt.report_targets,
)
