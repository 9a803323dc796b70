"""The mail about domains that show a problem of which people were told before, of other domains."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from mailward.core.explain.problem import explain_problem

_LISTED = 30
_MOST_HOSTS = 10
_WIDTH = 76


def say_joined(found: Mapping[tuple[str, str], Sequence[str]], *, was_told: bool) -> tuple[str, list[str]]:
    """Subject and lines. `found`, at least one: code and MX host -> the domains, sorted. `was_told`: who reads it heard
    of each when it began.
    """
    domains = sorted({domain for each in found.values() for domain in each})
    codes = tuple(dict.fromkeys(code for code, _ in found))
    host = next(iter(found))[1] if len(found) == 1 else None
    domain = domains[0] if len(domains) == 1 else None
    entries = [explain_problem(code).filled(mx=host, domain=domain) for code in codes]
    whose = domain or f"{len(domains):,} domains"
    subject = f"{whose}: {entries[0].clause if host else entries[0].title}"
    if len(codes) > 1:
        subject = f"{whose}: MX records and policy do not fit"
    before = "You were told of this before, for other domains. " if was_told else ""
    begin = f"{before}It shows here now:"
    lines = [*_paragraphs(begin), "", *_list(found)]
    for entry in entries:
        steps = (f"{number}. {step}" for number, step in enumerate(entry.steps, 1))
        lines += ["", *_paragraphs(entry.meaning), "", *(line for step in steps for line in _wrap(step))]
    return subject, lines


def _list(found: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for code, host in list(found)[:_MOST_HOSTS]:
        domains = found[code, host]
        clause = explain_problem(code).filled(mx=host).clause
        shown = domains[: max(1, _LISTED // min(len(found), _MOST_HOSTS))]
        lines += [*_wrap(f"{clause}:"), *(f"  {domain}" for domain in shown)]
        if len(domains) > len(shown):
            lines.append(f"  and {len(domains) - len(shown):,} more")
    if len(found) > _MOST_HOSTS:
        lines.append(f"and {len(found) - _MOST_HOSTS:,} hosts more: the page Problems")
    return lines


def _paragraphs(*texts: str) -> list[str]:
    return [line for each in texts for line in (*_wrap(each), "")][:-1]


def _wrap(text: str) -> list[str]:
    return wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
