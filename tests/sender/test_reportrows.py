"""The file of reports and deliveries, between releases."""

from contextlib import closing
from pathlib import Path

from mailward.sender.reportrows import open_tables


def test_what_a_release_before_made_is_completed_and_can_be_gone_back_to(tmp_path: Path) -> None:
    """0.1.0 knows version 3, without the machine's id and without the index by host."""
    path = tmp_path / "reports.sqlite3"
    with closing(open_tables(path)) as old:
        old.execute("DROP TABLE instance")
        old.execute("DROP INDEX delivery_host")
        assert old.execute("PRAGMA user_version").fetchone() == (3,)
    with closing(open_tables(path)) as first:
        made = first.execute("SELECT id FROM instance").fetchall()
        assert len(made) == 1
        assert first.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'delivery_host'"
        ).fetchone() == (1,)
    with closing(open_tables(path)) as again:
        assert again.execute("SELECT id FROM instance").fetchall() == made
        assert again.execute("PRAGMA user_version").fetchone() == (3,)
