"""docs/migrate-from-parsedmarc.md: its program turns what parsedmarc keeps into reports as RFC 8460 has them."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.docs.marked import read_blocks

from mailward.core.tlsrpt.read import read_bytes

PAGE = Path(__file__).parents[2] / "docs" / "migrate-from-parsedmarc.md"
# what parsedmarc 11.1 wrote into smtp_tls_json_filename of one report of ours
WRITTEN = Path(__file__).parents[1] / "fixtures" / "parsedmarc" / "smtp_tls.json"


def follow(folder: Path, stored: object) -> list[bytes]:
    """The reports that the page's commands make of what parsedmarc stored."""
    (folder / "smtp_tls.json").write_text(json.dumps(stored))
    for block in read_blocks(PAGE):
        text = block.text.replace("/root/", f"{folder}/")
        if block.file:
            Path(block.file.replace("/root/", f"{folder}/")).write_text(text)
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, timeout=30)
    return [path.read_bytes() for path in sorted((folder / "reports").iterdir())]


def written() -> dict[str, Any]:
    [report] = json.loads(WRITTEN.read_text())
    return dict(report)


def in_elasticsearch() -> dict[str, Any]:
    """The same as a document of its index: other names for some of it (parsedmarc/elastic.py)."""
    report = written()
    names = {"organization_name": "org_name", "begin_date": "date_begin", "end_date": "date_end"}
    document = {names.get(key, key): value for key, value in report.items()}
    for detail in (detail for policy in document["policies"] for detail in policy["failure_details"]):
        detail["additional_information_uri"] = detail.pop("additional_info_uri")
    return document


def test_a_report_of_its_json_file_is_read(tmp_path: Path) -> None:
    [raw] = follow(tmp_path, [written()])
    [report] = read_bytes(raw).reports
    assert (report.organization_name, report.report_id) == (
        "Google Inc.",
        "2026-11-23T00:00:00Z_example.test",
    )
    [entry] = report.policies
    assert (entry.policy.policy_domain, entry.policy.policy_type) == ("example.org", "sts")
    assert entry.summary.total_successful_session_count == 100
    assert [each.failed_session_count for each in entry.failure_details] == [3]


def test_a_search_of_elasticsearch_gives_the_same(tmp_path: Path) -> None:
    hits = {"hits": {"hits": [{"_index": "smtp_tls-2026-11-23", "_source": in_elasticsearch()}]}}
    for number, stored in enumerate(([written()], hits, hits["hits"]["hits"][0])):
        folder = tmp_path / str(number)
        folder.mkdir()
        [raw] = follow(folder, stored)
        assert json.loads(raw)["policies"][0]["failure-details"] == [
            {
                "result-type": "certificate-host-mismatch",
                "failed-session-count": 3,
                "sending-mta-ip": "203.0.113.7",
                "receiving-ip": "198.51.100.25",
                "receiving-mx-hostname": "mx.example.org",
                "additional-information": "https://example.net/why",
                "failure-reason-code": "X509",
            }
        ]
