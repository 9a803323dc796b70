import asyncio
import contextlib
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailward.config import Certificates as CertificateSettings
from mailward.config import Settings
from mailward.net import clock, pemfiles
from mailward.net.authority import AuthorityUnusable, load_authority
from mailward.net.certificates import MAX_SESSIONS, Certificates
from mailward.net.httpmessage import HttpLimits, Request, Response
from mailward.net.httpserver import Server, serve_http

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOST = "mta-sts.example.test"


@pytest.fixture
def data(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path / "data"))


def make_pem(*names: str, start: datetime = NOW, days: int = 90) -> bytes:
    """A self-signed certificate as an operator would bring it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=days))
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    certificate = builder.add_extension(alternatives, critical=True).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def put(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def hello(request: Request) -> Response:
    return Response(200, f"{request.server_name} {request.host}\n".encode())


@asynccontextmanager
async def serving(
    settings: Settings, is_ours: Callable[[str], bool] = lambda name: name == HOST, **limits: float
) -> AsyncIterator[Server]:
    certificates = Certificates(settings, is_ours=is_ours)
    bounds = HttpLimits(linger_seconds=0.2, **limits)  # type: ignore[arg-type]  # the tests pass floats only
    server = await serve_http(
        hello,
        listen="127.0.0.1",
        port=0,
        ssl_context=certificates.server_context(),
        context_for=certificates.context_for,
        limits=bounds,
    )
    try:
        yield server
    finally:
        await server.close(grace_seconds=0)


def trusting(settings: Settings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.data_path / "ca" / "ca.pem")


async def served_certificate(server: Server, name: str | None) -> x509.Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname=name if name is not None else ""
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der)


def names_of(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


async def test_p6_a_hosted_name_gets_a_certificate_of_its_own(data: Settings) -> None:
    async with serving(data, lambda name: name.startswith("mta-sts.")) as server:
        for host in (HOST, "mta-sts.other.test"):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=trusting(data), server_hostname=host
            )
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).endswith(f"{host} {host}\n".encode())
            writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(data: Settings, version: ssl.TLSVersion) -> None:
    async with serving(data) as server:
        context = trusting(data)
        context.minimum_version = context.maximum_version = version
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname=HOST)
        secured = writer.get_extra_info("ssl_object")
        assert secured.version() == version.name.replace("v1_", "v1.")
        # senders do not come back: a ticket would cost and never be used
        assert secured.session is None or not secured.session.has_ticket
        writer.close()


@pytest.mark.parametrize("name", ["mta-sts.unknown.test", None], ids=["unknown name", "no name"])
async def test_p7_a_name_that_is_not_ours_ends_in_an_alert(data: Settings, name: str | None) -> None:
    async with serving(data) as server:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await served_certificate(server, name)


async def test_a_handshake_has_a_deadline_and_counts_as_a_connection(data: Settings) -> None:
    async with serving(data, handshake_seconds=0.15) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\x16\x03\x01")
        await asyncio.sleep(0.05)
        assert server.connections == 1
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert not await reader.read()
        assert server.connections == 0
        writer.close()


async def test_a_hello_that_comes_octet_by_octet_is_answered(data: Settings) -> None:
    async with serving(data) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting(data).wrap_bio(incoming, outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for octet in outgoing.read():
            writer.write(bytes([octet]))
            await asyncio.sleep(0)
        incoming.write(await reader.read(65536))
        client.do_handshake()
        writer.close()


async def test_plain_http_on_the_tls_port_is_ended(data: Settings) -> None:
    async with serving(data) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()


async def test_an_operators_file_comes_before_the_development_authority(data: Settings) -> None:
    put(data.data_path / "certs", "a.pem", make_pem(HOST))
    async with serving(data) as server:
        assert (await served_certificate(server, HOST)).serial_number == 1


async def test_the_folder_of_the_settings_is_read_too(data: Settings, tmp_path: Path) -> None:
    put(tmp_path / "mine", "a.pem", make_pem("mta-sts.mine.test"))
    data = Settings(data=data.data, certificates=CertificateSettings(directory=str(tmp_path / "mine")))
    async with serving(data) as server:
        assert names_of(await served_certificate(server, "mta-sts.mine.test")) == ["mta-sts.mine.test"]


WILDCARDS = [
    ("a.example.test", True, "one label"),
    ("A.Example.TEST", True, "case does not matter"),
    ("example.test", False, "the name itself is not covered"),
    ("b.a.example.test", False, "nor two labels"),
]


@pytest.mark.parametrize("name, found, reason", WILDCARDS)
def test_a_wildcard_covers_one_whole_label(data: Settings, name: str, found: bool, reason: str) -> None:
    put(data.data_path / "certs", "a.pem", make_pem("*.example.test"))
    certificates = Certificates(data, is_ours=lambda _: False)
    assert (certificates.context_for(name) is not None) == found, reason


def test_files_are_read_again_when_they_change(data: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pemfiles, "RESCAN_SECONDS", 0)
    certificates = Certificates(data, is_ours=lambda _: False)
    assert certificates.context_for("a.test") is None
    path = put(data.data_path / "certs", "a.pem", make_pem("a.test"))
    first = certificates.context_for("a.test")
    assert first is not None
    assert certificates.context_for("a.test") is first
    put(path.parent, "a.pem", make_pem("a.test", "b.test"))
    assert certificates.context_for("a.test") not in (None, first)
    assert certificates.context_for("b.test") is not None
    path.unlink()
    assert certificates.context_for("a.test") is None


GOOD, OTHER = make_pem("a.test"), make_pem("b.test")
KEY = GOOD.index(b"-----BEGIN PRIVATE")
BROKEN = [
    (b"", "empty"),
    (b"not PEM", "no PEM"),
    (b"\xff" * 300_000, "too large"),
    (GOOD[:KEY], "no key"),
    (GOOD[:-100], "half a key"),
    (GOOD[:KEY] + OTHER[OTHER.index(b"-----BEGIN PRIVATE") :], "another's key"),
    (make_pem(), "no names"),
]


@pytest.mark.parametrize("content, reason", BROKEN, ids=[row[1] for row in BROKEN])
def test_a_broken_file_is_named_and_the_others_serve(
    data: Settings,
    content: bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pemfiles, "RESCAN_SECONDS", 0)
    put(data.data_path / "certs", "good.pem", make_pem("good.test"))
    path = put(data.data_path / "certs", "a.pem", content)
    certificates = Certificates(data, is_ours=lambda _: False)
    assert certificates.context_for("good.test") is not None, reason
    [record] = [record for record in caplog.records if record.getMessage() == "certificate-unusable"]
    assert vars(record)["file"] == str(path)
    assert str(vars(record)["reason"])


def test_a_file_that_turns_bad_keeps_serving_what_it_had(
    data: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pemfiles, "RESCAN_SECONDS", 0)
    path = put(data.data_path / "certs", "a.pem", make_pem("a.test"))
    certificates = Certificates(data, is_ours=lambda _: False)
    before = certificates.context_for("a.test")
    path.write_bytes(b"half written")
    assert certificates.context_for("a.test") is before


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + 30
    while not condition():
        assert clock.monotonic() < deadline
        time.sleep(0.01)


def test_a_large_folder_is_read_by_a_thread_and_names_are_found_meanwhile(
    data: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data.data_path / "certs"
    for number in range(30):
        put(folder, f"n{number}.test.pem", make_pem(f"n{number}.test", f"also{number}.test"))
    put(folder, "other.pem", make_pem("m.test"))
    monkeypatch.setattr(pemfiles, "RESCAN_SECONDS", 0.01)
    monkeypatch.setattr(pemfiles, "_REST_FACTOR", 0)
    may_read = threading.Event()
    read = pemfiles.PemSource._read

    def wait_and_read(source: pemfiles.PemSource, *rest: Any) -> None:
        assert may_read.wait(30)
        read(source, *rest)

    monkeypatch.setattr(pemfiles.PemSource, "_read", wait_and_read)
    certificates = Certificates(data, is_ours=lambda _: False)
    assert certificates.context_for("n7.test") is not None
    assert certificates.context_for("../certs/n7.test") is None
    assert certificates.context_for("other") is None, "not for this name"
    assert certificates.context_for("also7.test") is None, "not read yet"
    may_read.set()
    wait_for(lambda: certificates.context_for("also7.test") is not None)
    assert certificates.context_for("also7.test") is certificates.context_for("n7.test")
    (folder / "n7.test.pem").unlink()
    wait_for(lambda: certificates.context_for("n7.test") is None)


async def test_an_expired_file_serves_only_when_nothing_better_is_there(data: Settings) -> None:
    folder = data.data_path / "certs"
    put(folder, "old.pem", make_pem(HOST, start=NOW - timedelta(days=400), days=10))
    with clock.frozen(NOW + timedelta(hours=1)):
        async with serving(data) as server:
            assert (await served_certificate(server, HOST)).not_valid_after_utc < NOW
        put(folder, "new.pem", make_pem("*.example.test"))
        async with serving(data) as server:
            assert (await served_certificate(server, HOST)).not_valid_after_utc > NOW


async def test_certificates_are_renewed_at_two_thirds_of_their_life(data: Settings) -> None:
    async with serving(data) as server:
        serials = []
        for days in (0, 59, 61):
            with clock.frozen(NOW + timedelta(days=days)):
                serials.append((await served_certificate(server, HOST)).serial_number)
    assert serials[0] == serials[1] != serials[2]


def test_the_authority_is_made_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    first = load_authority(tmp_path / "ca")
    assert load_authority(tmp_path / "ca").certificate == first.certificate
    assert stat.S_IMODE((tmp_path / "ca" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) & 0o077 == 0


def test_a_broken_authority_is_said_and_not_replaced(tmp_path: Path) -> None:
    load_authority(tmp_path)
    (tmp_path / "ca.key").write_bytes(b"")
    with pytest.raises(AuthorityUnusable, match=r"move ca\.pem and ca\.key away"):
        load_authority(tmp_path)


def test_contexts_leave_no_descriptors_open(data: Settings) -> None:
    certificates = Certificates(data, is_ours=lambda _: True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        assert certificates.context_for(f"mta-sts.d{number}.test") is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Issued:
    """A source in memory, as one of issued certificates is."""

    def __init__(self, **held: tuple[bytes, int]) -> None:
        self.held = {f"{label}.test": entry for label, entry in held.items()}
        self.loads: list[str] = []

    def version_for(self, name: str) -> int | None:
        return self.held[name][1] if name in self.held else None

    def load(self, name: str) -> tuple[bytes, int] | None:
        self.loads.append(name)
        return self.held.get(name)


def test_names_of_one_certificate_share_a_context_that_is_made_once(data: Settings) -> None:
    pem = make_pem("a.test", "b.test")
    issued = Issued(a=(pem, 7), b=(pem, 7))
    certificates = Certificates(data, is_ours=lambda _: False, issued=[issued])
    assert certificates.context_for("a.test") is certificates.context_for("B.test.") is not None
    assert issued.loads == ["a.test"]


def test_contexts_are_bounded_and_what_was_used_last_stays(data: Settings) -> None:
    issued = Issued(a=(make_pem("a.test"), 1), b=(make_pem("b.test"), 2), c=(make_pem("c.test"), 3))
    certificates = Certificates(data, is_ours=lambda _: False, issued=[issued], max_contexts=2)
    for label in "abaca":
        assert certificates.context_for(f"{label}.test") is not None
    assert issued.loads == ["a.test", "b.test", "c.test"]
    assert certificates.context_for("b.test") is not None
    assert issued.loads[3:] == ["b.test"]


async def test_sessions_that_openssl_keeps_are_bounded(data: Settings) -> None:
    """Those of TLS 1.2 that are closed in peace."""
    certificates = Certificates(data, is_ours=lambda name: name == HOST)
    server = await serve_http(
        hello,
        listen="127.0.0.1",
        ssl_context=certificates.server_context(),
        context_for=certificates.context_for,
    )
    client = trusting(data)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    kept = []
    for _ in range(3 * MAX_SESSIONS):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=client, server_hostname=HOST
        )
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        await reader.read()
        writer.close()
        await writer.wait_closed()
        context = certificates.context_for(HOST)
        assert context is not None
        kept.append(context.session_stats()["number"])
    await server.close(grace_seconds=0)
    assert 1 < max(kept) <= MAX_SESSIONS


def test_an_issued_certificate_that_openssl_refuses_gives_way_to_the_next_source_and_is_tried_once(
    data: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    issued = Issued(a=(b"no PEM", 1))
    certificates = Certificates(data, is_ours=lambda name: name == "a.test", issued=[issued])
    assert certificates.context_for("a.test") is certificates.context_for("a.test") is not None
    assert issued.loads == ["a.test"]
    assert [record.getMessage() for record in caplog.records] == ["certificate-unusable"]


async def test_a_new_version_is_served_at_once_and_drops_no_connection(data: Settings) -> None:
    issued = Issued(a=(make_pem("a.test"), 1))
    context = Certificates(data, is_ours=lambda _: False, issued=[issued]).server_context()
    server = await serve_http(hello, listen="127.0.0.1", port=0, ssl_context=context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=client, server_hostname="a.test"
    )
    old = await served_certificate(server, "a.test")
    issued.held["a.test"] = make_pem("a.test"), 2
    assert await served_certificate(server, "a.test") != old
    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await server.close()
