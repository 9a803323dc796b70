"""A decision as the line that Postfix takes for an entry of smtp_tls_policy_maps."""

import re

from mailward.core.mtasts.policy import Policy
from mailward.core.names import InvalidName, check_ldh
from mailward.core.postfix import socketmap
from mailward.core.postfix.socketmap import Dialect
from mailward.core.sending.facts import Decision, Level
from mailward.core.sending.table import usable_names

# What a policy's line may have to be handed on: no braces, quotes, commas or backslashes, which Postfix's reader of
# `{ name = value }` gives a meaning; everything else of a stranger's text is left out, not escaped.
_PLAIN_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}: ?[A-Za-z0-9 ._:/+@*=-]{1,512}", re.ASCII)
_MAX_STRINGS = 500


def render(decision: Decision, dialect: Dialect) -> bytes:
    """The reply, without its frame; shorter than Postfix's limit, whatever the policy holds."""
    if decision.is_deferral:
        return socketmap.temp(f"{decision.row}: {decision.reason}")
    level, policy = decision.level, decision.policy
    if level is None or (_is_label_only(decision) and dialect is Dialect.PLAIN):
        return socketmap.NOTFOUND
    base = _protection(level, decision.match)
    if dialect is Dialect.PLAIN or policy is None:
        return socketmap.ok(base)
    least = _least_labels(decision, policy)
    for labels in (least + _policy_strings(policy), least):
        reply = socketmap.ok(base + b" " + labels)
        if len(reply) <= socketmap.MAX_REPLY_BYTES:
            return reply
    return socketmap.ok(base)


def _is_label_only(decision: Decision) -> bool:
    """Whether the level is the site's own anyway, and only the label of the policy is news."""
    return decision.policy is not None and decision.level in (Level.MAY, Level.ENCRYPT)


def _protection(level: Level, patterns: tuple[str, ...]) -> bytes:
    if level is not Level.SECURE:
        return level.value.encode("ascii")
    names = [_name(pattern) for pattern in patterns]
    # Postfix: `.example.com` covers names below it. servername=hostname: SNI is the MX host (RFC 8461 §7.1)
    match = ":".join(name[1:] if name.startswith("*.") else name for name in names)
    return f"secure match={match} servername=hostname".encode("ascii")


def _least_labels(decision: Decision, policy: Policy) -> bytes:
    """The TLSRPT attributes that Postfix needs at least."""
    parts = ["policy_type=sts", f"policy_domain={_name(decision.policy_domain)}"]
    if decision.level is not Level.DANE:
        # at `dane`, TLSA records fill Postfix's list of matches, and patterns would then be enforced
        # (smtp_tls_enforce_sts_mx_patterns), which a testing policy must not be
        parts += [f"mx_host_pattern={_name(pattern)}" for pattern in usable_names(policy.mx)]
    return " ".join(parts).encode("ascii")


def plain_lines(policy: Policy) -> list[str]:
    """What of the policy's text Postfix is told, for the reports."""
    lines = [line.rstrip() for line in policy.text.split("\n")[:_MAX_STRINGS]]
    return [line for line in lines if _PLAIN_LINE.fullmatch(line)]


def _policy_strings(policy: Policy) -> bytes:
    return "".join(f" {{ policy_string = {line} }}" for line in plain_lines(policy)).encode("ascii")


def _name(pattern: str) -> str:
    """The pattern, looked at once more: what is no name never reaches Postfix. Raises InvalidName."""
    bare = pattern.removeprefix("*.")
    check_ldh(bare)
    if not pattern.isascii():
        raise InvalidName(f"{pattern!r} is no name")
    return pattern.lower()
