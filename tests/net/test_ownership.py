import os
from pathlib import Path

import pytest

from mailward.net.ownership import give_file_away, make_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of somebody else."""
    made = tmp_path / "theirs"
    made.mkdir()
    os.chown(made, NOBODY, NOBODY)
    return made


def test_a_file_goes_to_whom_its_folder_belongs(folder: Path) -> None:
    file = folder / "backup"
    file.write_text("all of it")
    give_file_away(file)
    assert file.stat().st_uid == NOBODY


def test_what_a_link_leads_to_is_not_given_away(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "shadow"
    file.write_text("of root")
    link = folder / "backup"
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        give_file_away(link)
    assert file.stat().st_uid == 0


def test_a_folder_and_what_is_missing_above_it_goes_with_them(folder: Path) -> None:
    make_folder(folder / "one" / "two")
    assert {each.stat().st_uid for each in (folder / "one", folder / "one" / "two")} == {NOBODY}
