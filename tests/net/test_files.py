"""Whatever a person points at: files, mboxes, Maildirs, folders, standard input."""

import os
import subprocess
import sys
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest

from mailward.net.files import Item, Part, WalkLimits, measure, walk
from mailward.net.mbox import split_mbox

MAIL = b"From: a@example.net\nSubject: hello\n\nbody\n"
LINE = b"From MAILER-DAEMON Mon Jan  5 03:00:00 2026\n"


def write(path: Path, content: bytes = MAIL) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "README.md", b"hello")
    assert list(walk([path])) == [Item(path, b"hello")]


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    gone, there = str(tmp_path / "gone.json"), write(tmp_path / "there.json", b"{}")
    assert list(walk([gone, there])) == [
        Item(gone, None, "No such file or directory"),
        Item(there, b"{}"),
    ]


def test_a_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.json", "b/10.json", "a.eml", "c.json.gz", "d/e/f.zip"):
        write(tmp_path / name)
    assert [item.name for item in walk([str(tmp_path)])] == [
        "a.eml",
        "b/10.json",
        "b/2.json",
        "c.json.gz",
        "d/e/f.zip",
    ]


@pytest.mark.parametrize(
    ("name", "content", "is_read", "why"),
    [
        ("report.JSON", b"x", True, "the name says so, in capitals too"),
        ("README.md", b"{}", False, "no report is called so"),
        ("photo.jpg", b"x", False, "no report is called so"),
        (".hidden.json", b"{}", False, "hidden"),
        ("INBOX", LINE + MAIL, True, "an mbox needs no ending"),
        ("LICENSE", b"Apache License", False, "text that is nothing of ours"),
        ("report", b'{"a": 1}', True, "JSON without an ending"),
        ("report.txt", b"\x1f\x8b\x08", True, "gzip under another name"),
        ("notes.txt", b"buy milk", False, "text that is nothing of ours"),
        ("saved.txt", MAIL, True, "a mail saved as text"),
        ("empty", b"", False, "nothing"),
    ],
)
def test_a_folder_gives_only_what_can_be_a_report(
    tmp_path: Path, name: str, content: bytes, is_read: bool, why: str
) -> None:
    write(tmp_path / name, content)
    assert bool(list(walk([str(tmp_path)]))) is is_read, why


def test_a_maildir_gives_its_messages_whatever_they_are_called(tmp_path: Path) -> None:
    for name in ("cur/1700000000.M1.host.example:2,S", "new/1700000001.M2.host.example", "tmp/1.M3.host.x"):
        write(tmp_path / "Maildir" / name)
    assert [item.name for item in walk([str(tmp_path)])] == [
        "Maildir/cur/1700000000.M1.host.example:2,S",
        "Maildir/new/1700000001.M2.host.example",
    ]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.json", b"{}")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert [item.name for item in walk([str(tmp_path)])] == ["a/1.json"]


def test_folders_may_be_nested_deeper_than_python_recurses(tmp_path: Path) -> None:
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("x.json").write_bytes(b"{}")
    finally:
        os.chdir(before)
    items = list(walk([str(tmp_path)]))
    assert len(items) == 1
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_a_name_that_is_no_text_can_still_be_written(tmp_path: Path) -> None:
    write(tmp_path / os.fsdecode(b"caf\xe9.json"), b"{}")
    assert list(walk([str(tmp_path)])) == [Item("caf\\xe9.json", b"{}")]


def test_devices_and_pipes_in_folders_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert list(walk([str(tmp_path)])) == []


def test_a_file_beyond_the_limit_is_an_error_that_names_it(tmp_path: Path) -> None:
    limits = WalkLimits(max_item_bytes=1024 * 1024)
    small, large = (
        write(tmp_path / "a.json", b"x" * 1024 * 1024),
        write(tmp_path / "b.json", b"x" * (1024 * 1024 + 1)),
    )
    assert [(item.name, item.error) for item in walk([small, large], limits)] == [
        (small, None),
        (large, "larger than 1 MiB"),
    ]


def test_an_endless_device_is_read_up_to_the_limit() -> None:
    assert [item.error for item in walk(["/dev/zero"], WalkLimits(max_item_bytes=1024 * 1024))] == [
        "larger than 1 MiB"
    ]


def test_an_mbox_gives_a_message_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "all.mbox", LINE + MAIL + b"\n" + LINE + b"Subject: two\n\n")
    assert list(walk([path])) == [Item(f"{path}#1", MAIL), Item(f"{path}#2", b"Subject: two\n")]


def test_a_single_message_with_a_from_line_keeps_the_name_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "one.eml", LINE + MAIL)
    assert list(walk([path])) == [Item(path, MAIL)]


@pytest.mark.parametrize(
    ("content", "messages", "why"),
    [
        (LINE + b"a\n\n" + LINE + b"b\n", [b"a\n", b"b\n"], "two messages"),
        (LINE + b"a\r\n\r\n" + LINE + b"b\r\n", [b"a\r\n", b"b\r\n"], "CRLF"),
        (LINE + b"a\n" + LINE + b"b\n", [b"a\n" + LINE + b"b\n"], "no empty line before: text"),
        (LINE + b"a\n\nFrom here on it rains\n", [b"a\n\nFrom here on it rains\n"], "no time: text"),
        (LINE + b">From me\n>>From you\n", [b"From me\n>From you\n"], "one > less"),
        (LINE + b"> From me\n", [b"> From me\n"], "a quotation of a mail, not of the mbox"),
        (LINE, [b""], "an empty message"),
        (LINE + b"a", [b"a"], "no final line end"),
        (
            LINE + b"a\n\n" + LINE + b"x" * 200 + b"\n\n" + LINE + b"c\n",
            [b"a\n", None, b"c\n"],
            "one too large",
        ),
    ],
)
def test_an_mbox_is_split_where_messages_begin(
    content: bytes, messages: list[bytes | None], why: str
) -> None:
    assert list(split_mbox(BytesIO(content), 100)) == messages, why


def test_an_mbox_costs_the_memory_of_one_message(tmp_path: Path) -> None:
    message = LINE + b"Subject: x\n\n" + b"x" * 70 * 1024 + b"\n\n"
    path = write(tmp_path / "big.mbox", message * 500)
    tracemalloc.start()
    count = sum(1 for _ in walk([path]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 500
    assert peak < 5 * 1024 * 1024


def read_stdin(content: bytes) -> str:
    code = "from mailward.net.files import walk; print([(i.name, i.content) for i in walk(['-'])])"
    return (
        subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )


def test_standard_input_may_be_one_file_or_an_mbox() -> None:
    assert read_stdin(b"{}") == "[('standard input', b'{}')]"
    assert read_stdin(LINE + b"a\n\n" + LINE + b"b\n") == (
        "[('standard input#1', b'a\\n'), ('standard input#2', b'b\\n')]"
    )


def test_the_size_of_it_all_is_known_beforehand(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.json", b"12345")
    write(tmp_path / "2.json", b"123")
    assert measure([str(tmp_path), "-", str(tmp_path / "gone")]) == 8


def test_parts_of_a_walk_are_the_whole_and_share_nothing(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}.json").write_text("{}")
    # a folder, and what a shell makes of folder/*
    for paths in ([str(tmp_path)], sorted(map(str, tmp_path.iterdir()))):
        whole = [item.name for item in walk(paths)]
        parts = [[item.name for item in walk(paths, part=Part(number, 3))] for number in range(3)]
        assert sorted(name for part in parts for name in part) == whole
        assert all(parts)
