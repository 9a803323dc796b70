import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mailward.config import Sender, Settings, Tlsrpt
from mailward.core.doctor.finding import Finding
from mailward.core.postfix.maincf import Instance
from mailward.sender import signals
from mailward.sender.signaldoctor import is_built_with_tlsrpt, look_at_signals


def look(path: Path, listen: str = "") -> dict[str, Finding]:
    settings = Settings(sender=Sender(metrics_listen=listen), tlsrpt=Tlsrpt(socket=str(path)))
    return {each.code: each for each in look_at_signals(settings)}


def test_without_reports_nothing_is_looked_at() -> None:
    assert list(look_at_signals(Settings())) == []


@pytest.mark.parametrize(("length", "grade"), [("10", "problem"), ("511", "problem"), ("512", "good")])
def test_a_short_queue_is_a_problem_with_the_sysctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str, grade: str
) -> None:
    (tmp_path / "qlen").write_text(length)
    monkeypatch.setattr(signals, "QUEUE_LENGTH_FILE", tmp_path / "qlen")
    finding = look(tmp_path / "t.sock")["queue-length"]
    assert finding.grade == grade
    assert ("net.unix.max_dgram_qlen=512" in finding.fix) == (grade == "problem")


def test_the_queue_is_measured_where_proc_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = signals.read_queue_length()
    monkeypatch.setattr(signals, "QUEUE_LENGTH_FILE", tmp_path / "hidden")
    assert signals.read_queue_length() == min(told, 512)


def test_a_socket_of_another_network_namespace_is_not_judged_by_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qlen").write_text("10")
    monkeypatch.setattr(signals, "QUEUE_LENGTH_FILE", tmp_path / "qlen")
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as source:
        source.bind(str(path))
        assert look(path)["queue-length"].grade == "problem"
    path.unlink()
    bind = (
        "import socket, sys; from mailward.sender.ownqueue import make_socket; made = make_socket(600);"
        "made.bind(sys.argv[1]); sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", bind, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.read(1) == b"."
        assert look(path)["queue-length"].grade == "good"
        assert signals._fill(str(path)) == 512
        owner.communicate(b"")
    assert look(path)["queue-length"].grade == "problem"


def test_a_socket_is_tried_without_sending_anything(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    assert "No such file" in look(path)["signal-socket"].text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as source:
        source.bind(str(path))
        path.chmod(0o600)
        assert "may not be written by others" in look(path)["signal-socket-closed"].text
        source.setblocking(False)
        with pytest.raises(BlockingIOError):
            source.recv(1)
    assert "refused" in look(path)["signal-socket"].text
    assert "longer than 107 bytes" in look(tmp_path / ("x" * 108))["signal-socket"].text


def test_a_build_without_tlsrpt_is_known_by_its_programs(tmp_path: Path) -> None:
    def built(content: bytes) -> bool | None:
        (tmp_path / "libpostfix-tls.so").write_bytes(content)
        return is_built_with_tlsrpt(Instance({"shlib_directory": str(tmp_path)}, ()))

    assert built(b"\x7fELF..tlsrpt_open..") is True
    assert built(b"\x7fELF....") is False
    shutil.rmtree(tmp_path)
    assert is_built_with_tlsrpt(Instance({"shlib_directory": str(tmp_path)}, ())) is None
