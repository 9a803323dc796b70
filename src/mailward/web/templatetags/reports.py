"""`{% load reports %}`: what pages about reports say of them."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mailward.web.pages.reports.trust import badge_of

register = template.Library()


@register.simple_tag
def trust_badge(trust: str) -> SafeString:
    """Who vouches for a report, in a word or two."""
    badge, label = badge_of(trust)
    return format_html('<span class="badge badge-{}">{}</span>', badge, label)
