import stat
from pathlib import Path

import pytest

from mailward.config import Settings, SettingsError
from mailward.net.sealing import (
    Keyring,
    Unopenable,
    load_keyring,
    make_key,
    read_keys,
    sealed_by,
    write_key_file,
)

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_was_sealed_is_opened_for_the_same_purpose_alone() -> None:
    ring = Keyring([NEW])
    sealed = ring.seal(b"secret", "certificate a.test")
    assert b"secret" not in sealed
    assert ring.open(sealed, "certificate a.test") == b"secret"
    with pytest.raises(Unopenable):
        ring.open(sealed, "certificate b.test")


@pytest.mark.parametrize("at", [0, 1, 9, 12, 21, -1])
def test_what_was_altered_is_not_opened(at: int) -> None:
    ring = Keyring([NEW])
    sealed = bytearray(ring.seal(b"secret", "x"))
    sealed[at] ^= 1
    with pytest.raises(Unopenable):
        ring.open(bytes(sealed), "x")


def test_the_first_key_seals_and_all_open() -> None:
    old = Keyring([OLD]).seal(b"secret", "x")
    both = Keyring([NEW, OLD])
    assert both.open(old, "x") == b"secret"
    assert sealed_by(both.seal(b"secret", "x")) == Keyring([NEW]).first != sealed_by(old)
    with pytest.raises(Unopenable):
        Keyring([NEW]).open(old, "x")


def test_a_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    sealed = load_keyring(settings).seal(b"secret", "x")
    assert load_keyring(settings).open(sealed, "x") == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_running_process_notices_that_the_key_was_replaced(tmp_path: Path) -> None:
    running = load_keyring(Settings(data=str(tmp_path)))
    before = running.seal(b"secret", "x")
    old = (tmp_path / "key").read_text().split()
    write_key_file(tmp_path / "other", [make_key(), *old]).replace(tmp_path / "key")
    assert sealed_by(running.seal(b"secret", "x")) != sealed_by(before)
    assert running.open(before, "x") == b"secret"


@pytest.mark.parametrize("half", [b"", b"half a key", b"\xff"])
def test_a_running_process_goes_on_while_the_key_is_being_written(tmp_path: Path, half: bytes) -> None:
    running = load_keyring(Settings(data=str(tmp_path)))
    sealed, whole = running.seal(b"secret", "x"), (tmp_path / "key").read_bytes()
    (tmp_path / "key").write_bytes(half)
    assert running.open(running.seal(b"secret", "x"), "x") == b"secret"
    (tmp_path / "key").write_bytes(f"{make_key()}\n".encode() + whole)
    assert sealed_by(running.seal(b"secret", "x")) != sealed_by(sealed)
    assert running.open(sealed, "x") == b"secret"


@pytest.mark.parametrize("text", ["", "short", "é", "A" * 44, "A" * 43 + "= x"])
def test_what_is_no_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_keys(text, "MAILWARD_KEY")
    assert not text or text not in str(caught.value)


def test_a_key_of_the_settings_that_is_none_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(key="c2hvcnQ=")
    with pytest.raises(SettingsError, match=r"^key: a key is 32 octets"):
        load_keyring(settings)
    monkeypatch.setenv("MAILWARD_KEY_FILE", "/run/secrets/key")
    with pytest.raises(SettingsError, match=r"^MAILWARD_KEY_FILE: a key is 32 octets"):
        load_keyring(settings)
