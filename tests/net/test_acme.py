"""Our ACME client against the real Pebble."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.dns import FakeDns
from tests.fakes.dripping import DrippingServer
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port

from mailward.core.acme.faults import Scope
from mailward.core.acme.renewal import renewal_id
from mailward.core.acme.settings import AcmeDirectory
from mailward.net import acme
from mailward.net.acme import AcmeClient, AcmeFault, Order, make_key
from mailward.net.httpserver import Request, Response, serve_http

HOST = "mta-sts.example.test"


class Site:
    """DNS and port 80 of the names that are asked for."""

    def __init__(self) -> None:
        self.dns = FakeDns()
        self.port = free_port()
        self.answers: dict[str, bytes] = {}

    def answer(self, request: Request) -> Response:
        body = self.answers.get(request.path.rpartition("/")[2])
        return Response(404) if body is None else Response(200, body)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    site.dns.set(HOST, "A", "127.0.0.1")
    server = await serve_http(site.answer, listen="127.0.0.1", port=site.port)
    async with site.dns:
        yield site
    await server.close(0)


def _csr(host: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _obtain(client: AcmeClient, site: Site, host: str, replaces: str = "", profile: str = "") -> str:
    order = client.new_order(host, profile, replaces)
    authorization = client.authorization(order.authorizations[0])
    challenge = authorization.challenges["http-01"]
    site.answers[challenge.token] = f"{challenge.token}.{client.read_thumbprint()}".encode()
    if (
        authorization.status == "pending"
    ):  # a CA may go on believing what it has seen (RFC 8555 section 7.1.4)
        client.answer(challenge)
    while (order := _poll(client, order)).status == "pending":
        pass
    if order.status == "invalid":
        fault = client.authorization(order.authorizations[0]).fault
        assert fault is not None
        raise AcmeFault(fault)
    client.finalize(order, _csr(host))
    while (order := _poll(client, order)).status == "processing":
        pass
    return client.certificate(order)


def _poll(client: AcmeClient, order: Order) -> Order:
    time.sleep(0.02)
    return client.order(order.url)


async def test_a_certificate_is_issued_although_half_of_all_nonces_are_refused(
    site: Site, tmp_path: Path
) -> None:
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port, reject_nonces=50) as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        chain = await asyncio.to_thread(_obtain, client, site, HOST)
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]


async def test_the_same_key_is_the_same_account(site: Site, tmp_path: Path) -> None:
    key = make_key()
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port) as pebble:
        urls = [await asyncio.to_thread(AcmeClient(pebble.directory, key).register) for _ in range(2)]
    assert urls[0] == urls[1] != ""


async def test_the_words_of_the_ca_about_a_name_that_leads_elsewhere(site: Site, tmp_path: Path) -> None:
    site.dns.remove(HOST, "A")
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port) as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        with pytest.raises(AcmeFault) as caught:
            await asyncio.to_thread(_obtain, client, site, HOST)
    assert (caught.value.fault.scope, caught.value.fault.code) == (Scope.NAME, "connection")
    assert HOST in caught.value.fault.words


async def test_external_account_binding(site: Site, tmp_path: Path) -> None:
    secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    options: dict[str, Any] = {
        "externalAccountBindingRequired": True,
        "externalAccountMACKeys": {"kid-1": secret},
    }
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port, **options) as pebble:
        bound = pebble.directory_with(eab_kid="kid-1", eab_hmac_key=secret)
        url = await asyncio.to_thread(AcmeClient(bound, make_key()).register)
        with pytest.raises(AcmeFault) as caught:
            await asyncio.to_thread(AcmeClient(pebble.directory, make_key()).register)
    assert "/my-account/" in url
    assert caught.value.fault.code == "externalAccountRequired"


async def test_a_predecessor_that_the_ca_does_not_know_is_no_reason_to_go_without(
    site: Site, tmp_path: Path
) -> None:
    """Its issuer is another one since, or the account is."""
    # RFC 9773 §4.1's example
    unknown = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port, version="2.6") as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        assert "BEGIN CERTIFICATE" in await asyncio.to_thread(_obtain, client, site, HOST, unknown)


async def test_renewal_information_and_what_a_new_certificate_replaces(site: Site, tmp_path: Path) -> None:
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port, version="2.6") as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        assert await asyncio.to_thread(client.offers_renewal_info)
        chain = await asyncio.to_thread(_obtain, client, site, HOST)
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        info, again = await asyncio.to_thread(client.renewal_info, renewal_id(leaf))
        assert leaf.not_valid_before_utc < info.start < info.end < leaf.not_valid_after_utc
        assert again is not None
        await asyncio.to_thread(_obtain, client, site, HOST, renewal_id(leaf))
        # what was replaced already is no reason to go without
        await asyncio.to_thread(_obtain, client, site, HOST, renewal_id(leaf))


async def test_a_profile_is_taken_and_one_that_the_ca_does_not_have_is_refused(
    site: Site, tmp_path: Path
) -> None:
    profiles = {
        "default": {"description": "ninety days", "validityPeriod": 7_776_000},
        "shortlived": {"description": "six days", "validityPeriod": 518_400},
    }
    with Pebble(
        tmp_path, dns=site.dns.address, http_port=site.port, version="forky", profiles=profiles
    ) as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        for profile, days in (("shortlived", 6), ("default", 90)):
            chain = await asyncio.to_thread(_obtain, client, site, HOST, profile=profile)
            leaf = x509.load_pem_x509_certificates(chain.encode())[0]
            lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
            assert abs(lifetime - timedelta(days=days)) < timedelta(minutes=1)
        with pytest.raises(AcmeFault) as caught:
            await asyncio.to_thread(client.new_order, HOST, "tlsserver")
    fault, url = caught.value.fault, pebble.directory.url
    assert (fault.scope, fault.code) == (Scope.NAME, "invalidProfile")
    assert fault.words == f"{url} has no profile tlsserver for certificates: it has default, shortlived"


async def test_a_ca_without_profiles_is_not_asked_for_one(site: Site, tmp_path: Path) -> None:
    """Debian 12's Pebble passes over it, and would give what nobody asked for."""
    with Pebble(tmp_path, dns=site.dns.address, http_port=site.port) as pebble:
        client = AcmeClient(pebble.directory, make_key())
        await asyncio.to_thread(client.register)
        with pytest.raises(AcmeFault, match="has no profile shortlived for certificates: it has none at all"):
            await asyncio.to_thread(client.new_order, HOST, "shortlived")
        assert "order-plz" not in pebble.log


async def test_a_ca_that_is_away_is_the_ca_s_fault(tmp_path: Path) -> None:
    directory = Pebble(tmp_path, dns="127.0.0.1:9", http_port=1).directory
    with pytest.raises(AcmeFault) as caught:
        await asyncio.to_thread(AcmeClient(directory, make_key()).register)
    assert caught.value.fault.scope is Scope.CA
    assert "cannot be reached" in caught.value.fault.words


@pytest.mark.parametrize("where", ["handshake", "header", "body"])
def test_a_step_ends_in_time_at_a_ca_that_sends_an_octet_a_second(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme, "STEP_SECONDS", 2.5)
    with DrippingServer(tmp_path, where) as ca:
        began = time.monotonic()
        with pytest.raises(AcmeFault) as caught:
            AcmeClient(ca.directory, make_key()).register()
        assert 2.4 < time.monotonic() - began < 5
        assert ca.sent >= 2  # so that no read ever waited long
    assert caught.value.fault.scope is Scope.CA
    assert caught.value.fault.words == "the CA cannot be reached: no whole answer within 2.5 seconds"


class _Said:
    """A response of a CA that is no RFC 8555."""

    def __init__(self, body: object) -> None:
        self._body, self.headers = body, {"Location": "https://ca.test/order"}

    def json(self) -> object:
        return self._body


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        ({"status": "pending", "authorizations": ["https://ca.test/a"] * 11}, "order"),
        (
            {"challenges": [{"type": "http-01", "url": "https://ca.test/c", "token": "x" * 201}]},
            "authorization",
        ),
        ({"challenges": [{"type": "http-01", "url": "https://ca.test/c", "token": 7}]}, "authorization"),
    ],
)
def test_what_a_ca_may_not_say_is_its_fault(body: object, ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = AcmeClient(AcmeDirectory(url="https://ca.test/directory"), make_key())
    monkeypatch.setattr(client, "_post", lambda *_: _Said(body))
    with pytest.raises(AcmeFault) as caught:
        getattr(client, ask)("https://ca.test/order")
    assert caught.value.fault.scope is Scope.CA
    assert "not ACME" in caught.value.fault.words


def test_a_ca_whose_identities_are_none_is_at_fault_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    client = AcmeClient(AcmeDirectory(url="https://ca.test/directory"), make_key())
    monkeypatch.setattr(client, "_directory", lambda: {"meta": {"caaIdentities": 7}})
    with pytest.raises(AcmeFault) as caught:
        client.read_identities()
    assert caught.value.fault.scope is Scope.CA
