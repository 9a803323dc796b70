"""What an instance must log for the sessions that it does not report. The instance is a real Postfix 3.10's."""

import pytest
from tests.core.postfix.test_checkup import instance, wrong

from mailward.core.postfix.logcheck import examine_log

JOURNAL = "journal"
GOOD = {"smtp_tls_loglevel": "summary,untrusted"}
SET = "postconf -c /etc/postfix -e 'smtp_tls_loglevel = summary,untrusted'"


def test_a_good_instance_has_nothing_to_change() -> None:
    assert wrong(list(examine_log(instance(**GOOD), JOURNAL))) == {}


@pytest.mark.parametrize(
    ("changes", "code", "fix"),
    [
        ({"smtp_tls_loglevel": "0"}, "log-without-tls", SET),
        ({"smtp_tls_loglevel": ""}, "log-without-tls", SET),
        ({"smtp_tls_loglevel": "untrusted"}, "log-without-tls", SET),
        ({"smtp_tls_loglevel": "1"}, "certificates-not-looked-at", SET),
        ({"maillog_file": "/var/log/postfix.log"}, "log-elsewhere", '[tlsrpt] log = "/var/log/postfix.log"'),
    ],
)
def test_what_does_not_fit_has_its_change(changes: dict[str, str], code: str, fix: str) -> None:
    found = wrong(list(examine_log(instance(**(GOOD | changes)), JOURNAL)))
    assert [(finding.code, finding.fix) for finding in found.values()] == [(code, fix)]


def test_one_service_that_is_quiet_is_named() -> None:
    found = wrong(list(examine_log(instance("relay/unix/smtp_tls_loglevel = 0\n", **GOOD), JOURNAL)))
    assert found["log-without-tls"].text.startswith("relay/unix has smtp_tls_loglevel 0")
    assert found["log-without-tls"].fix == "postconf -c /etc/postfix -PX relay/unix/smtp_tls_loglevel"


def test_a_log_where_it_is_looked_for() -> None:
    there = instance(**GOOD, maillog_file="/var/log/postfix.log")
    assert wrong(list(examine_log(there, "/var/log/postfix.log"))) == {}
