"""What the owner of the receiving domains does at the platform; a process of its own, since Django is set up once.

    python -m mailward.lab.owner publish < wishes       # domains and policies; prints what to put into the DNS
    python -m mailward.lab.owner read                   # prints the reports that came, and the open problems
    python -m mailward.lab.owner page DOMAIN            # prints what its page shows, as HTML that stands alone

The first two speak JSON. All know the installation from MAILWARD_CONFIG and MAILWARD_DATA, as `mailward serve` does.
"""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from mailward.core.tlsrpt.schema import PolicyResult
from mailward.core.tlsrpt.schema import Report as Content


class Wish(msgspec.Struct, frozen=True):
    domain: str
    mode: str = ""
    """Empty: no policy."""
    mx: str = ""


class Wishes(msgspec.Struct, frozen=True):
    token: str
    """Of the first administrator's link."""
    domains: tuple[Wish, ...]


class Published(msgspec.Struct, frozen=True):
    """What the platform wants to see in the DNS of a domain."""

    domain: str
    texts: tuple[tuple[str, str], ...]
    """Name below the domain, and the TXT record there."""


class Failure(msgspec.Struct, frozen=True):
    result_type: str
    mx: str
    reason: str
    sessions: int


class Told(msgspec.Struct, frozen=True):
    """What one report says of one policy."""

    domain: str
    reporter: str
    trust: str
    """Only what somebody vouches for is counted."""
    policy_type: str
    successful: int
    failed: int
    failures: tuple[Failure, ...] = ()


class Open(msgspec.Struct, frozen=True):
    """A problem that the platform has opened."""

    domain: str
    result_type: str
    host: str


class Known(msgspec.Struct, frozen=True):
    reports: tuple[Told, ...]
    problems: tuple[Open, ...]
    is_settled: bool
    """Nothing that follows from the reports waits to be done."""


_MAX_AGE = 604_800
_MAIN = re.compile(r"<main\b.*</main>", re.DOTALL)
# the hash of its content stands in the name that is served, not in the file's
_STYLESHEET = re.compile(r'<link rel="stylesheet" href="/static/([^"]+?)(?:\.[0-9a-f]{12})?\.css"')
_FORM = re.compile(r"<form\b.*?</form>|<script\b.*?</script>|<img\b[^>]*>", re.DOTALL)
_ELSEWHERE = re.compile(r' (?:href|action)="[^"]*"')


def _publish(wishes: Wishes) -> list[Published]:
    from mailward.core.mtasts.policy import Mode, Policy
    from mailward.core.names import Domain as Name
    from mailward.store.scope import scope_of
    from mailward.store.services.accounts import Newcomer, start_organisation
    from mailward.store.services.domains import create_domains
    from mailward.store.services.policies import publish_policy

    olga = Newcomer("olga@platform.test", "Olga", "the attack lab")
    scope = scope_of(start_organisation(wishes.token, olga, "The lab"))
    if scope is None:
        raise SystemExit("the owner has no organisation")
    names = [Name(wish.domain) for wish in wishes.domains]
    ids = {domain.name: domain.pk for domain in create_domains(scope, names).created}
    for wish in wishes.domains:
        if wish.mode:
            policy = Policy(Mode(wish.mode), _MAX_AGE, (wish.mx,))
            publish_policy(scope.organisation_id, ids[wish.domain], policy, author_id=scope.user_id)
    return [_records(wish.domain, ids[wish.domain]) for wish in wishes.domains]


def _records(domain: str, domain_id: int) -> Published:
    from mailward.config import load_settings
    from mailward.monitor.expected import expected_records
    from mailward.store.models import PolicyVersion
    from mailward.worker.records import facts_of

    config = os.environ.get("MAILWARD_CONFIG")
    facts = facts_of(load_settings(Path(config) if config else None), domain_id)
    if facts is None:
        raise SystemExit(f"{domain} is not there")
    # the lab's policy hosts serve it long before anybody asks for these records
    version = PolicyVersion.objects.filter(domain_id=domain_id).order_by("number").last()
    facts = replace(facts, policy_id=version.policy_id if version else None)
    records = [(each.name, each.self_managed) for each in expected_records(facts)]
    texts = [(name.removesuffix(f".{domain}"), data.value) for name, data in records if data.rdtype == "TXT"]
    return Published(domain, tuple(texts))


def _read() -> Known:
    from django.db.models import Q

    from mailward.net import clock
    from mailward.store.models import OutboxItem, ProblemDomain, Report
    from mailward.store.packed import unpack

    # what a worker is at has its time moved to the end of the lease
    now = clock.now()
    due = Q(available_at__lte=now) | Q(claimed_until__gt=now)
    is_idle = not OutboxItem.objects.exclude(kind="records").filter(due).exists()
    told = []
    for report in Report.objects.select_related("domain"):
        if report.domain is None:
            continue
        content = msgspec.json.decode(unpack(bytes(report.parsed)), type=Content)
        told += [_told(report.domain.name, report.reporter, report.trust, each) for each in content.policies]
    touched = ProblemDomain.objects.filter(gone_at=None).select_related("problem", "domain")
    problems = [Open(each.domain.name, each.problem.result_type, each.problem.host) for each in touched]
    return Known(tuple(told), tuple(problems), is_idle)


def _told(domain: str, reporter: str, trust: str, result: PolicyResult) -> Told:
    failures = [
        Failure(
            each.result_type or "",
            each.receiving_mx_hostname or "",
            each.failure_reason_code or "",
            each.failed_session_count or 0,
        )
        for each in result.failure_details
    ]
    return Told(
        domain,
        reporter,
        trust,
        result.policy.policy_type or "",
        result.summary.total_successful_session_count or 0,
        result.summary.total_failure_session_count or 0,
        tuple(failures),
    )


def _page(domain: str) -> str:
    """The middle of the page: what leads elsewhere leads nowhere here."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    client = Client(SERVER_NAME="localhost")
    client.force_login(get_user_model().objects.get())
    text = client.get(reverse("domain-home", args=[domain])).content.decode()
    found = _MAIN.search(text)
    if found is None:
        raise SystemExit(f"{domain} has no page")
    styles = "".join(f"<style>{_stylesheet(name)}</style>" for name in _STYLESHEET.findall(text))
    body = _ELSEWHERE.sub("", _FORM.sub("", found[0]))
    head = f'<meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{domain}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}{styles}</head><body>{body}</body></html>'


def _stylesheet(name: str) -> str:
    from django.contrib.staticfiles import finders

    path = finders.find(f"{name}.css")
    if not isinstance(path, str):
        raise SystemExit(f"there is no {name}.css")
    return Path(path).read_text(encoding="utf-8")


def main(action: str, *words: str) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailward.web.settings")
    django.setup()
    if action == "publish":
        answer = msgspec.json.encode(_publish(msgspec.json.decode(sys.stdin.buffer.read(), type=Wishes)))
    elif action == "page":
        answer = _page(*words).encode()
    else:
        answer = msgspec.json.encode(_read())
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
