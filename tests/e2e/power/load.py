"""What the world does to a provider, on and on: reports by mail and by POST, questions to its nameserver.

    python -m tests.e2e.power.load HOST REPORT-TOKEN

Each answer that promises something is one line on standard output: `mail 7`, `post 8`, `serial 41`.
"""

import gzip
import http.client
import itertools
import json
import smtplib
import ssl
import sys
import threading
import time
from collections.abc import Callable

import dns.message
import dns.query
from tests.fakes.signer import google_mail, report_json

HOST, TOKEN = sys.argv[1:3]
_ZONE, _REPORTS = "sts.provider.test", "reports.provider.test"
_numbers = itertools.count(1)
_lock = threading.Lock()


def tell(line: str) -> None:
    with _lock:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def mail() -> None:
    with smtplib.SMTP(HOST, 25, timeout=5) as client:
        while True:
            report_id = f"mail {next(_numbers)}"
            raw = google_mail(report_json(report_id=report_id))
            if not client.sendmail("noreply@google.test", [f"{TOKEN}@{_REPORTS}"], raw):
                tell(report_id)


def post() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        report_id = f"post {next(_numbers)}"
        body = gzip.compress(json.dumps(report_json(report_id=report_id)).encode())
        client = http.client.HTTPSConnection(HOST, 8444, timeout=5, context=context)
        try:
            headers = {"Content-Type": "application/tlsrpt+gzip", "Host": _REPORTS}
            client.request("POST", f"/v1/tlsrpt/{TOKEN}", body, headers)
            if client.getresponse().status == 201:
                tell(report_id)
        finally:
            client.close()


def ask() -> None:
    while True:
        answer = dns.query.udp(dns.message.make_query(_ZONE, "SOA"), HOST, timeout=1)
        tell(f"serial {answer.answer[0][0].serial}")
        time.sleep(0.02)


def again(work: Callable[[], None]) -> None:
    """Whatever breaks: the provider is down again."""
    while True:
        try:
            work()
        except (
            OSError,
            smtplib.SMTPException,
            http.client.HTTPException,
            dns.exception.DNSException,
            IndexError,
        ):
            time.sleep(0.05)


if __name__ == "__main__":
    for work in (mail, mail, post, post, ask):
        threading.Thread(target=again, args=(work,)).start()
