"""`mailward survey`, as people run it."""

import csv
import json
from pathlib import Path

import duckdb
from tests.survey.lab import begin, finish, make_dns, planned, read_parquet, write_list

from mailward.core.survey.columns import COLUMNS


def test_standard_input_with_junk_becomes_results(tmp_path: Path) -> None:
    dns, out = make_dns(4), tmp_path / "out"
    dns.set("d00001.test", "MX", "10 =cmd.provider.test.")
    given = b"rank,domain\n1,d00000.test\n2,d00001.test\n\n3,D00000.test.\n=1+1\nlocalhost\nd00002.test\n"
    with dns.threaded():
        status, told, error = finish(begin(dns, out, "-"), given)
    assert status == 0, error
    assert "3 domains" in told
    assert "named again on 1 lines; 2 lines hold no domain name" in error
    assert read_parquet(out, "line, rank, domain, mx, providers, mx_null, sts_id, policy_status") == [
        (2, 1, "d00000.test", "10 mx.provider.test", "provider.test", False, "1", "no-address"),
        (3, 2, "d00001.test", "10 =cmd.provider.test", "provider.test", False, None, "not-asked"),
        (8, None, "d00002.test", "10 mx.provider.test", "provider.test", False, None, "not-asked"),
    ]
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["line"]))
    assert [row["domain"] for row in rows] == ["d00000.test", "d00001.test", "d00002.test"]
    assert (rows[0]["mx_null"], rows[1]["sts_id"]) == ("false", "")
    manifest = json.loads((out / "survey.json").read_text())
    assert (manifest["plan"]["rejected"], manifest["finished_at"] is not None) == (2, True)


def test_the_columns_of_both_files_are_those_of_the_documentation(tmp_path: Path) -> None:
    dns, out = make_dns(1), tmp_path / "out"
    with dns.threaded():
        assert finish(begin(dns, out, str(write_list(tmp_path, 1))))[0] == 0
    names = [column.name for column in COLUMNS]
    assert (out / "results.csv").read_text().splitlines()[0].split(",") == names
    with duckdb.connect() as connection:
        query = "DESCRIBE SELECT * FROM read_parquet(?)"
        described = connection.execute(query, [str(out / "results.parquet")]).fetchall()
    types = {"VARCHAR": "text", "BIGINT": "int", "BOOLEAN": "bool"}
    assert [(row[0], types[row[1]]) for row in described] == [
        (column.name, column.type.value) for column in COLUMNS
    ]


def test_a_cell_that_strangers_wrote_is_no_formula(tmp_path: Path) -> None:
    dns, out = make_dns(1), tmp_path / "out"
    dns.set("_mta-sts.d00000.test", "TXT", "v=STSv1; id==1;")
    dns.set("_smtp._tls.d00000.test", "TXT", "v=TLSRPTv1; rua=mailto:=cmd@d00000.test")
    dns.set("d00000.test", "MX", "10 mx.provider.test.", "20 -1.provider.test.")
    with dns.threaded():
        assert finish(begin(dns, out, str(write_list(tmp_path, 1))))[0] == 0
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert [name for name, cell in row.items() if cell[:1] in ("=", "+", "-", "@")] == []


def test_another_list_another_sample_or_other_files_are_refused(tmp_path: Path) -> None:
    dns, out, listed = make_dns(2), tmp_path / "out", write_list(tmp_path, 2)
    other = tmp_path / "other.csv"
    other.write_text("example.test\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with dns.threaded():
        assert finish(begin(dns, out, str(listed)))[0] == 0
        cases: tuple[tuple[Path, list[str], str], ...] = (
            (out, [str(other)], "its list was not this one"),
            (out, [str(listed), "--sample", "1"], "with --sample left out"),
            (out, ["--smtp"], "without --smtp"),
            (tmp_path / "full", [str(listed)], "thesis.txt"),
            (tmp_path / "new", [], "name the list"),
            (tmp_path / "new", [str(tmp_path / "none.csv")], "No such file"),
            (tmp_path / "new", [str(listed), "--ca-file", str(listed)], "no usable certificate authorities"),
        )
        for where, words, sentence in cases:
            status, _, error = finish(begin(dns, where, *words))
            assert status == 2, error
            assert sentence in " ".join(error.split())
            assert "Traceback" not in error


def test_a_list_without_names_is_told(tmp_path: Path) -> None:
    dns = make_dns(1)
    with dns.threaded():
        status, _, error = finish(begin(dns, tmp_path / "out", "-"), b"nothing\nhere\n")
    assert status == 2
    assert "no domain name is in the list of 2 lines" in error


def test_a_sample_is_asked_and_no_more(tmp_path: Path) -> None:
    dns, out = make_dns(50), tmp_path / "out"
    with dns.threaded():
        assert finish(begin(dns, out, str(write_list(tmp_path, 50)), "--sample", "7"))[0] == 0
    assert planned(out) == 7
    assert len({query.name for query in dns.queries if query.name.startswith("d0")}) == 7
