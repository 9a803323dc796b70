"""Server time of the pages that are read daily, with 2,000,000 stored reports.

    bench/domain_page.py [--reports 2000000] [--domains 10000]

Fills an SQLite database under bench/out/ (kept and used again where it has the size), one domain in it with
a tenth of all reports, then asks for pages through Django's whole stack as a signed-in reader: the median
of 20.
"""

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

OUT = Path(__file__).parent / "out" / "domain-page"
os.environ["MAILWARD_DATA"] = str(OUT)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailward.web.settings")

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402

from mailward.store.models import Domain, Membership, Organisation, Report, Role, User  # noqa: E402
from mailward.web.console import gather_static  # noqa: E402

REPORTERS = ("google.com", "microsoft.com", "mail.ru", "yahooinc.com", "comcast.net", "web.de", "example.org")
RESULTS = ("certificate-expired", "starttls-not-supported", "certificate-host-mismatch", "validation-failure")
LAST_DAY = date(2026, 11, 23)
DAYS = 365
CHUNK = 20_000
RUNS = 20
TARGET_MS = 150

Row = tuple[int | str | bytes | bool | None, ...]


def domain_of(number: int, domains: int) -> int:
    """Every tenth report is about the first domain; the others are spread evenly."""
    return 0 if number % 10 == 0 else number % domains


def report_rows(reports: int, ids: list[int], organisation: int, raw: int) -> Iterator[Row]:
    parsed, none = b"{}", b"[]"
    for number in range(reports):
        domain = ids[domain_of(number, len(ids))]
        day = LAST_DAY - timedelta(days=number % DAYS)
        moment = f"{day} 03:00:00"
        failed = 3 if number % 7 == 0 else 0
        yield (
            number + 1, organisation, domain, domain, raw, hashlib.sha256(b"%d" % number).digest(),
            "verified", "pass", "", REPORTERS[number % 7], True, "smtp", REPORTERS[number % 7],
            "An organisation", f"{day}_{number}", str(day), moment, moment, "example.test", 100, failed,
            parsed, none, "", moment, 1,
        )  # fmt: skip


def daily_rows(reports: int, ids: list[int], organisation: int) -> tuple[Iterator[Row], Iterator[Row]]:
    """What those reports add up to, in the two daily tables."""
    sessions: dict[tuple[int, int, str], list[int]] = {}
    failures: dict[tuple[int, int, str, str, str, str], int] = {}
    for number in range(reports):
        domain, ago, reporter = ids[domain_of(number, len(ids))], number % DAYS, REPORTERS[number % 7]
        row = sessions.setdefault((domain, ago, reporter), [0, 0, 0])
        row[0] += 100
        row[2] += 1
        if number % 7 == 0:
            row[1] += 3
            host, address = f"mx{number % 3}.example.test", f"192.0.2.{number % 200}"
            key = (domain, ago, RESULTS[number % 4], host, reporter, address)
            failures[key] = failures.get(key, 0) + 3
    days = [str(LAST_DAY - timedelta(days=ago)) for ago in range(DAYS)]
    return (
        ((organisation, d, days[ago], "sts", who, *counts) for (d, ago, who), counts in sessions.items()),
        (
            (organisation, d, days[ago], "sts", result, host, who, address, count)
            for (d, ago, result, host, who, address), count in failures.items()
        ),
    )


def insert(table: str, columns: str, rows: Iterator[Row]) -> None:
    marks = ", ".join(["%s"] * len(columns.split(",")))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
    with connection.cursor() as cursor:
        while chunk := list(islice(rows, CHUNK)):
            with transaction.atomic():
                cursor.executemany(statement, chunk)


def fill(reports: int, domains: int) -> None:
    if Report.objects.count() == reports and Domain.objects.count() == domains:
        return
    call_command("flush", interactive=False, verbosity=0)
    started = time.perf_counter()
    organisation = Organisation.objects.create(name="Bench", report_token="bench")
    user = User.objects.create_user("reader@example.test", "not-used-here")
    Membership.objects.create(organisation=organisation, user=user, role=Role.READER)
    Domain.objects.bulk_create(
        Domain(organisation=organisation, name=f"d{n:05}.test", report_token=f"t{n}", claim_token="c")
        for n in range(domains)
    )
    ids = list(Domain.objects.order_by("name").values_list("id", flat=True))
    now = f"{datetime(2026, 11, 23, tzinfo=UTC):%Y-%m-%d %H:%M:%S}"
    insert(
        "store_rawmessage",
        "id, organisation_id, door, name, content, received_at",
        iter([(1, organisation.pk, "smtp", "", b"", now)]),
    )
    insert(
        "store_report",
        "id, organisation_id, domain_id, domain_key, raw_id, content_hash, trust, dkim, dkim_detail, signer, "
        "counted, door, reporter, organization_name, report_id, day, start, \"end\", policy_domains, ok, "
        "failed, parsed, deviations, tls_report_domain, received_at, copies",
        report_rows(reports, ids, organisation.pk, 1),
    )  # fmt: skip
    sessions, failures = daily_rows(reports, ids, organisation.pk)
    insert(
        "store_dailysessions",
        "organisation_id, domain_id, day, policy_type, reporter, ok, failed, reports",
        sessions,
    )
    insert(
        "store_dailyfailures",
        "organisation_id, domain_id, day, policy_type, result_type, host, reporter, sending_ip, sessions",
        failures,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"filled with {reports:,} reports in {time.perf_counter() - started:.0f} s")


def measure(client: Client, path: str) -> tuple[float, float]:
    """Median and largest server time in milliseconds."""
    times = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        response = client.get(path)
        times.append((time.perf_counter() - started) * 1000)
        if response.status_code != 200:
            sys.exit(f"{path}: {response.status_code}")
    return statistics.median(times[1:]), max(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=2_000_000)
    parser.add_argument("--domains", type=int, default=10_000)
    options = parser.parse_args()
    call_command("migrate", interactive=False, verbosity=0)
    gather_static(OUT / "static")
    fill(options.reports, options.domains)
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(email="reader@example.test"))
    end = f"end={LAST_DAY}"
    pages = {
        "a domain, 30 days": f"/domains/d00777.test/?{end}",
        "a domain, 365 days": f"/domains/d00777.test/?{end}&days=365",
        f"the domain with {options.reports // 10:,} reports, 30 days": f"/domains/d00000.test/?{end}",
        "the same, 365 days": f"/domains/d00000.test/?{end}&days=365",
        "its reports": "/domains/d00000.test/reports/",
        "all reports": "/reports/",
        "one report": "/reports/1000/",
        "the list of domains": "/domains/",
        "the list, searched": "/domains/?q=777",
    }
    print(f"{Report.objects.count():,} reports, {Domain.objects.count():,} domains; server time in ms")
    print("| page | median | largest |\n|---|---|---|")
    slow = []
    for name, path in pages.items():
        median, largest = measure(client, path)
        slow += [name] if median > TARGET_MS else []
        print(f"| {name} | {median:.0f} | {largest:.0f} |")
    if slow:
        print(f"over {TARGET_MS} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
