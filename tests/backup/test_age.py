"""The envelope: opened by age and age's by us, in little memory; and whatever is not whole stays closed."""

import io
import subprocess
from pathlib import Path

import pytest

from mailward.backup import BackupFault
from mailward.backup.age import (
    CHUNK_BYTES,
    Closed,
    Lock,
    Opener,
    Sealer,
    Unsealer,
    make_identity,
    read_identities,
)
from mailward.core import bech32
from mailward.core.bech32 import KeyTextInvalid

SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)


def seal(data: bytes, lock: Lock) -> bytes:
    target = io.BytesIO()
    sealer = Sealer(target, lock)
    for start in range(0, len(data), 50_000):
        sealer.write(data[start : start + 50_000])
    sealer.finish()
    return target.getvalue()


def unseal(sealed: bytes, opener: Opener) -> bytes:
    raw: io.RawIOBase = Unsealer(io.BytesIO(sealed), opener)
    return io.BufferedReader(raw).read()


def age(*arguments: str | Path, data: bytes) -> bytes:
    done = subprocess.run(["age", *arguments], input=data, capture_output=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture
def identity(tmp_path: Path) -> tuple[Path, str]:
    """Made by age's own tool: the file, and the recipient."""
    path = tmp_path / "identity"
    done = subprocess.run(["age-keygen", "-o", path], capture_output=True, text=True, check=True)
    return path, done.stderr.split()[-1]


@pytest.mark.parametrize("size", SIZES)
def test_age_opens_what_we_seal_and_we_what_age_seals(size: int, identity: tuple[Path, str]) -> None:
    path, recipient = identity
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert age("--decrypt", "--identity", path, data=seal(data, Lock((recipient,)))) == data
    opener = Opener(read_identities(path.read_text()))
    assert unseal(age("--recipient", recipient, data=data), opener) == data


def test_age_takes_our_keys(tmp_path: Path) -> None:
    secret, recipient = make_identity()
    (tmp_path / "identity").write_text(secret)
    done = subprocess.run(
        ["age-keygen", "-y", tmp_path / "identity"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == recipient


def test_each_of_several_recipients_opens_it_and_nobody_else() -> None:
    pairs = [make_identity() for _ in range(3)]
    sealed = seal(b"secret", Lock(tuple(recipient for _, recipient in pairs[:2])))
    for secret, _ in pairs[:2]:
        assert unseal(sealed, Opener((secret,))) == b"secret"
    with pytest.raises(Closed, match="other than the one given"):
        unseal(sealed, Opener((pairs[2][0],)))
    with pytest.raises(Closed, match="--identity"):
        unseal(sealed, Opener(passphrase="secret"))


def test_no_backup_is_sealed_for_more_than_can_be_read_again() -> None:
    secret, recipient = make_identity()
    assert unseal(seal(b"all", Lock((recipient,) * 99)), Opener((secret,))) == b"all"
    with pytest.raises(BackupFault, match="99 recipients"):
        Lock((recipient,) * 100)


def test_a_passphrase_opens_it_and_another_does_not() -> None:
    sealed = seal(b"secret", Lock(passphrase="correct horse"))
    assert unseal(sealed, Opener(passphrase="correct horse")) == b"secret"
    with pytest.raises(Closed):
        unseal(sealed, Opener(passphrase="correct horse "))


def test_what_was_altered_anywhere_or_cut_off_stays_closed() -> None:
    secret, recipient = make_identity()
    sealed = seal(bytes(2 * CHUNK_BYTES + 10), Lock((recipient,)))
    step = len(sealed) // 60
    for place in [*range(300), *range(300, len(sealed), step)]:
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(BackupFault):
            unseal(bytes(altered), Opener((secret,)))
    for length in [*range(0, 300, 7), *range(300, len(sealed), step), len(sealed) - 1]:
        with pytest.raises(BackupFault):
            unseal(sealed[:length], Opener((secret,)))


def test_chunks_that_changed_places_stay_closed() -> None:
    secret, recipient = make_identity()
    sealed = seal(bytes(3 * CHUNK_BYTES), Lock((recipient,)))
    chunk = CHUNK_BYTES + 16
    head = len(sealed) - 3 * chunk
    swapped = (
        sealed[:head]
        + sealed[head + chunk : head + 2 * chunk]
        + sealed[head : head + chunk]
        + sealed[-chunk:]
    )
    with pytest.raises(Closed):
        unseal(swapped, Opener((secret,)))


def test_a_forged_file_cannot_take_all_memory() -> None:
    greedy = (
        b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 22\n"
        + b"A" * 43
        + b"\n--- "
        + b"A" * 43
        + b"\n"
    )
    with pytest.raises(BackupFault, match="more memory"):
        unseal(greedy, Opener(passphrase="x"))
    endless = b"age-encryption.org/v1\n" + b"-> other\n" * 100_000
    with pytest.raises(BackupFault, match="header"):
        unseal(endless, Opener(passphrase="x"))


MISWRITTEN = (
    ("age1", "nothing behind the prefix"),
    ("age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "a wrong checksum"),
    ("AGE-SECRET-KEY-1QQQQ", "an identity, not a recipient"),
    ("ssh-ed25519 AAAA", "another kind"),
    ("", "nothing"),
)


@pytest.mark.parametrize("text, _reason", MISWRITTEN)
def test_a_recipient_that_is_none_is_refused(text: str, _reason: str) -> None:
    with pytest.raises(BackupFault):
        Lock((text,))


def test_what_is_wrong_in_a_file_of_identities_is_told_with_its_line_and_without_the_key() -> None:
    secret, _ = make_identity()
    for odd, reason in ((secret[:-9], "cut off|checksum"), ("age1x", r"AGE-SECRET-KEY-1"), ("x", "begins")):
        with pytest.raises(BackupFault, match=f"^line 3: this is not an identity.*({reason})") as caught:
            read_identities(f"# made today\n{secret}\n{odd}\n")
        assert secret[16:30] not in str(caught.value)


def test_the_examples_of_bip_173_are_read() -> None:
    # valid strings of BIP 173; the data of "split" is checked by writing it again
    text = "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"
    assert (
        bech32.decode("split", text).hex() == "c5f38b70305f519bf66d85fb6cf03058f3dde463ecd7918f2dc743918f2d"
    )
    assert bech32.encode("split", bech32.decode("split", text)) == text
    with pytest.raises(KeyTextInvalid, match="checksum"):
        bech32.decode("split", text.replace("y9", "9y"))
    with pytest.raises(KeyTextInvalid, match="capitals"):
        bech32.decode("split", text.replace("check", "CHECK"))
