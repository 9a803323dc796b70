import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from tests.fakes.relay import FakeRelay
from tests.sender.reportlab import DAY, EXPIRED, MORNING, TLSA, ReportLab, later, ruas, tally

from mailward.core.dkim.key import pick_key
from mailward.core.tlsrpt.counting import Detail
from mailward.core.tlsrpt.read import read_bytes
from mailward.sender.dkimkeys import load_key


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ReportLab]:
    with FakeRelay() as relay:
        yield ReportLab(tmp_path, relay)


async def test_today_can_be_seen_as_a_document_before_it_is_reported(lab: ReportLab) -> None:
    today = MORNING.date()
    failed = tally(day=today, successes=3, failures=2, details=(Detail(EXPIRED, 2),))
    lab.count(failed, tally(day=today, policy=TLSA))
    status, output = await lab.command("reports", "--preview", "shop.example")
    assert status == 0
    for words in (
        "Sender Ltd",
        "mx.shop.example",
        "expired",
        "Would go to: v=TLSRPTv1; rua=mailto:tls@shop.example",
    ):
        assert words in output
    status, output = await lab.command("reports", "--preview", "shop.example", "--json")
    [report] = read_bytes(output.encode()).reports
    assert [each.policy.policy_type for each in report.policies] == ["sts", "tlsa"]


async def test_what_nothing_is_counted_for_is_said(lab: ReportLab) -> None:
    status, output = await lab.command("reports", "--preview", "shop.example")
    assert (status, output) == (2, "mailward: Nothing is counted for shop.example on 2026-11-28.\n")
    status, output = await lab.command("reports")
    assert (status, "There are no reports at" in output) == (2, True)


async def test_the_list_tells_what_went_and_what_failed_and_why(lab: ReportLab) -> None:
    lab.relay.refuse_recipient = "bad@b.example"
    lab.count(
        tally(record=ruas("mailto:tls@shop.example!10m")),
        tally("b.example", record=ruas("mailto:bad@b.example")),
    )
    await lab.once()
    status, output = await lab.command("reports")
    assert status == 0
    bad, good = output.splitlines()
    assert bad.split("\t")[:4] == ["2026-11-27", "b.example", "mailto:bad@b.example", "failed"]
    assert "550 5.1.1 no such person" in bad
    assert good.split("\t")[3:6] == ["delivered", "5 ok, 0 failed", "1 attempt"]
    assert "rua-size-hint" in good
    status, output = await lab.command("reports", "--state", "failed", "--json")
    row = json.loads(output)
    assert (row["domain"], row["state"], row["attempts"]) == ("b.example", "failed", 1)
    for words, count in ((["shop.example"], 1), (["--day", str(DAY)], 2)):
        assert (await lab.command("reports", *words))[1].count("\n") == count
    status, output = await lab.command("reports", "--day", "2026-11-26")
    assert (status, output.partition(".")[0]) == (0, "No such report")


async def test_what_failed_is_sent_again_and_what_waits_is_dropped(lab: ReportLab) -> None:
    lab.relay.refuse_recipient = "tls@shop.example"
    lab.count(tally())
    await lab.once()
    lab.relay.refuse_recipient = ""
    assert await lab.command("reports", "--retry", "shop.example") == (0, "Sent again: 1\n")
    assert await lab.command("reports", "--drop", "shop.example") == (0, "Dropped: 1\n")
    assert lab.states() == {"mailto:tls@shop.example": "dropped"}
    status, output = await lab.command("reports", "--drop", "shop.example")
    assert (status, output) == (2, "mailward: There is nothing of shop.example that could be dropped.\n")
    assert await lab.command("reports", "--retry", "shop.example") == (0, "Sent again: 1\n")
    await lab.once(later(1))  # the command's clock runs on
    assert len(lab.relay.mails) == 1


MISTAKES = [
    (["--day", "yesterday"], "'yesterday' is no day: write it as 2026-11-28."),
    (["--state", "gone"], "'gone' is no state of a report: waiting, sending"),
    (["--unsuppress", "mailto:x@y"], "mailto:x@y is not suppressed"),
]


@pytest.mark.parametrize("words, sentence", MISTAKES)
async def test_a_mistake_is_one_sentence(lab: ReportLab, words: list[str], sentence: str) -> None:
    lab.count(tally())
    await lab.once()
    status, output = await lab.command("reports", *words)
    assert (status, sentence in output, output.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("kind, made", [("rsa", RSAPrivateKey), ("ed25519", Ed25519PrivateKey)])
async def test_a_key_is_made_once_and_its_record_says_that_it_is_for_reports(
    lab: ReportLab, kind: str, made: type
) -> None:
    status, output = await lab.command("key", "t2026", "--type", kind)
    assert status == 0
    assert "Publish this TXT record at t2026._domainkey.sender.example:" in output
    record = re.search(r"^v=DKIM1; .*$", output, re.MULTILINE)
    assert record is not None
    assert "; s=tlsrpt; " in record[0]
    key = load_key(lab.folder, "t2026")
    assert isinstance(key, made)
    assert pick_key([record[0].encode()], f"{kind}-sha256").key == key.public_key()
    strings = re.findall(r'"([^"]*)"', output.partition("zone file")[2].partition("dkim_selectors")[0])
    assert "".join(strings) == record[0]
    assert max(map(len, strings)) <= 255
    assert (lab.folder / "tlsrpt-keys" / "t2026.pem").stat().st_mode & 0o777 == 0o600
    status, output = await lab.command("key", "t2026")
    assert (status, "there is a key already" in output) == (2, True)
    status, output = await lab.command("key", "t2026", "--show")
    assert (status, record[0] in output) == (0, True)


@pytest.mark.parametrize("selector", ["../x", "A", "a.b", ""])
async def test_a_selector_is_a_label(lab: ReportLab, selector: str) -> None:
    status, output = await lab.command("key", selector)
    assert (status, "is no selector" in output) == (2, True)


async def test_a_selector_without_a_key_is_told_with_the_command_that_makes_it(lab: ReportLab) -> None:
    lab.changes |= {"contact": "tls@sender.example", "dkim_selectors": ("gone",)}
    status, output = await lab.command("reporter", "--once")
    assert (status, "`mailward sender key gone` makes it" in output) == (2, True)
