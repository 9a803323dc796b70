"""What keeps Postfix from telling of its TLS sessions is found, with the exact change."""

import pytest
from tests.core.postfix.test_checkup import instance

from mailward.core.doctor.finding import Finding, Grade
from mailward.core.postfix.maincf import Instance
from mailward.core.postfix.signalcheckup import examine_signals

PLACE = "/var/spool/postfix/mailward/tlsrpt.sock"
GOOD = {"smtp_tlsrpt_enable": "yes", "smtp_tlsrpt_socket_name": "mailward/tlsrpt.sock"}


def examine(found: Instance, *, is_built_in: bool | None = True) -> list[Finding]:
    return list(examine_signals(found, PLACE, is_built_in=is_built_in))


@pytest.mark.parametrize("name", ["mailward/tlsrpt.sock", "/mailward/tlsrpt.sock"])
def test_a_chrooted_client_finds_the_socket_below_the_queue_directory(name: str) -> None:
    [finding] = examine(instance(**GOOD | {"smtp_tlsrpt_socket_name": name}), is_built_in=None)
    assert (finding.grade, finding.code) == (Grade.GOOD, "signals")


def test_who_does_not_tell_is_named_with_the_command() -> None:
    found = examine(instance(**GOOD | {"smtp_tlsrpt_enable": "no"}))
    assert {each.code for each in found} == {"signals-off"}
    assert found[0].fix == "postconf -c /etc/postfix -e 'smtp_tlsrpt_enable = yes'"


@pytest.mark.parametrize("name", ["", "other.sock", "/var/spool/postfix/mailward/tlsrpt.sock"])
def test_another_place_is_told_with_the_right_one(name: str) -> None:
    found = examine(instance(**GOOD | {"smtp_tlsrpt_socket_name": name}))
    assert {each.code for each in found} == {"signals-elsewhere"}
    assert found[0].fix == "postconf -c /etc/postfix -e 'smtp_tlsrpt_socket_name = mailward/tlsrpt.sock'"


def test_what_master_cf_overrides_is_mended_there() -> None:
    [finding] = examine(instance(overrides="smtp/unix/smtp_tlsrpt_enable = no\n", **GOOD))
    assert finding.fix == "postconf -c /etc/postfix -P 'smtp/unix/smtp_tlsrpt_enable=yes'"


def test_a_postfix_that_cannot_tell_is_said_so() -> None:
    [old] = examine(instance(mail_version="3.7.11", **GOOD))
    [without] = examine(instance(**GOOD), is_built_in=False)
    assert (old.code, without.code) == ("no-signals", "no-signals")
    assert "3.10" in old.fix
    assert "USE_TLSRPT" in without.text
