from pathlib import Path

import pytest
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.test_answers import ask

from mailward.core.sending.overrides import OverridesInvalid

GOOD = f'[[override]]\ndomain = "{DOMAIN}"\naction = "ignore"\nreason = "x"\nuntil = 9999-01-01\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "overrides.toml"
    path.write_text(GOOD)
    return path


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def test_a_changed_file_is_used_and_a_broken_one_is_not(
    lab: Lab, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab.publish()
    daemon = lab.daemon(overrides=str(file))
    assert daemon.overrides is not None
    assert await ask(daemon) == "NOTFOUND "
    write(file, "[[override")
    daemon.overrides.reload()
    assert await ask(daemon) == "NOTFOUND "
    assert caplog.records[-1].message == "overrides-invalid"
    write(file, "")
    daemon.overrides.reload()
    assert await ask(daemon) == SECURE
    await daemon.knowledge.close()


def test_a_broken_file_refuses_to_start(lab: Lab, file: Path) -> None:
    file.write_text("[[override")
    with pytest.raises(OverridesInvalid):
        lab.daemon(overrides=str(file))


def test_a_file_that_is_not_there_refuses_to_start(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(OverridesInvalid, match="nowhere"):
        lab.daemon(overrides=str(tmp_path / "nowhere"))
