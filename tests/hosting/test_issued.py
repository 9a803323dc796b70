"""Issued certificates at a node whose database was restored from a backup while it went on serving."""

from pathlib import Path

import pytest
from tests.fakes.certs import Authority

from mailward.config import Settings
from mailward.hosting.certificates import IssuedCertificates
from mailward.net import clock
from mailward.net.certificates import Certificates
from mailward.net.sealing import Keyring, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import Certificate, CertificateSequence, Domain, Organisation
from mailward.store.services.certificates import key_purpose

pytestmark = pytest.mark.django_db(transaction=True)


def add(authority: Authority, keyring: Keyring, name: str, sequence: int) -> None:
    host = f"mta-sts.{name}"
    key, mark, chain = authority.issue_pem(host).partition(b"-----BEGIN CERTIFICATE")
    organisation, _ = Organisation.objects.get_or_create(name="One", defaults={"report_token": "0rg"})
    domain, _ = Domain.objects.get_or_create(
        organisation=organisation, name=name, defaults={"report_token": name, "claim_token": "c"}
    )
    Certificate.objects.create(
        organisation=organisation,
        domain=domain,
        host=host,
        directory="https://ca.test/dir",
        chain=(mark + chain).decode(),
        key=keyring.seal(key, key_purpose(host)),
        sequence=sequence,
        issuer="",
        not_before=clock.now(),
        not_after=clock.now(),
        renewal_id="",
    )
    CertificateSequence.objects.update_or_create(pk=1, defaults={"value": sequence})


def restore() -> None:
    """The database of before."""
    Certificate.objects.all().delete()
    CertificateSequence.objects.update(value=0)


async def test_a_number_that_is_given_again_brings_its_own_certificate(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    (tmp_path / "authority").mkdir()
    authority, keyring = Authority(tmp_path / "authority"), load_keyring(settings)
    node = IssuedCertificates(tmp_path / "certificates.sqlite3", keyring)
    served = Certificates(settings, is_ours=lambda _: False, issued=[node])
    for number, name in enumerate(("one.test", "two.test"), 1):
        await in_store(add, authority, keyring, name, number)
    await node.refresh()
    first = served.context_for("mta-sts.one.test")
    assert first is not None
    await in_store(restore)
    await in_store(add, authority, keyring, "three.test", 1)
    await node.refresh()
    third = served.context_for("mta-sts.three.test")
    assert third is not None
    assert third is not first
    assert served.context_for("mta-sts.two.test") is None
    node.close()
