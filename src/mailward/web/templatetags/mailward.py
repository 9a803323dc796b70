"""`{% load mailward %}`: names and numbers as people read them."""

from collections.abc import Mapping
from typing import Any

import idna
from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from mailward.store.models import Domain
from mailward.store.queries.domains import RecordsSummary, is_served, summarise_records
from mailward.store.services.leaving import OF_POLICY, has_left

register = template.Library()

_UNITS = ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_MODE_BADGES = {"enforce": "ok", "testing": "warn", "none": "unknown"}
_STATE_BADGES = {
    "right": "ok",
    "missing": "warn",
    "incomplete": "warn",
    "wrong": "bad",
    "conflicting": "bad",
}


_OF_DOMAINS = frozenset({"domains", "dns-servers", "profiles", "changes", "imports", "rollout"})


@register.filter
def is_of_domains(path: str) -> bool:
    """Whether a page belongs to the first entry of the navigation."""
    return path.strip("/").partition("/")[0] in _OF_DOMAINS


@register.filter
def unicode_name(name: str) -> str:
    """An A-label name as its owner writes it; empty where that is the same, or cannot be told."""
    if "xn--" not in name:
        return ""
    try:
        return idna.decode(name)
    except idna.IDNAError:
        return ""


@register.filter
def duration(seconds: int) -> str:
    """86400 -> `1 day`. The largest unit that divides it, so that nothing is rounded."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}" + ("" if count == 1 else "s")
    return "0 seconds"


@register.filter
def mode_badge(mode: str) -> str:
    """The badge class of a policy mode."""
    return _MODE_BADGES.get(mode, "unknown")


@register.filter
def state_badge(state: str) -> str:
    """The badge class of a record's state."""
    return _STATE_BADGES.get(state, "unknown")


@register.simple_tag(takes_context=True)
def records_of(context: Mapping[str, Any], domain: Domain) -> RecordsSummary:
    """How the records of a domain stand, in one word."""
    return summarise_records(context["scope"], domain.pk, OF_POLICY if has_left(domain) else ())


@register.simple_tag
def served(domain: Domain) -> bool:
    """Whether senders get its policy from us."""
    return is_served(domain)


@register.filter
def commands(text: str) -> SafeString:
    """Prose of the catalogue: what stands between backticks is a command. Everything is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick opens nothing
        parts[-2:] = ["`".join(parts[-2:])]
    shown = (format_html("<code>{}</code>", part) if index % 2 else part for index, part in enumerate(parts))
    return format_html_join("", "{}", ((part,) for part in shown))
