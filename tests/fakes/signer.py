"""Report mails as senders make them, signed with keys of the tests' own.

signer = Signer("google.test")
signer.publish(dns)                       # the key's TXT record
raw = signer.sign(google_mail(report_json(), sender_domain="google.test"))
"""

import base64
import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.fakes.dns import FakeDns

from mailward.core.dkim import KeyAnswer, KeyStatus, SigningKey, sign

SIGNED_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@cache
def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    """One key for all tests of a size: making one takes a while."""
    return generate_private_key(65537, bits)


@cache
def ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def private_pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def key_record(key: SigningKey, extra: str = "") -> bytes:
    """The TXT record of RFC 6376 section 3.6.1; `extra` such as `s=email; `."""
    public = key.public_key()
    if isinstance(key, Ed25519PrivateKey):
        kind, der = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind, der = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={kind}; {extra}p={base64.b64encode(der).decode()}".encode()


@dataclass
class Signer:
    """A domain that signs, with its key."""

    domain: str
    selector: str = "s2026"
    key: SigningKey = field(default_factory=rsa_key)
    key_tags: str = "s=tlsrpt; "

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> bytes:
        return key_record(self.key, self.key_tags)

    def publish(self, dns: FakeDns) -> None:
        dns.set(self.key_name, "TXT", self.record)

    def answers(self) -> dict[str, KeyAnswer]:
        return {self.key_name: KeyAnswer(KeyStatus.FOUND, (self.record,))}

    def sign(self, raw: bytes, **options: Any) -> bytes:
        return sign(raw, self.domain, self.selector, self.key, now=SIGNED_AT, **options)


def report_json(
    policy_domain: str = "example.test",
    *,
    report_id: str = "2026-11-23T00:00:00Z_example.test",
    day: str = "2026-11-23",
    successful: int | None = 100,
    failed: int | None = 3,
    policy_type: str = "sts",
    organization: str = "Google Inc.",
    contact: str = "smtp-tls-reporting@google.test",
    details: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """One report of the shape that Google sends."""
    summary = {
        "total-successful-session-count": successful,
        "total-failure-session-count": failed,
    }
    if details is None and failed:
        details = [
            {
                "result-type": "certificate-host-mismatch",
                "sending-mta-ip": "203.0.113.7",
                "receiving-mx-hostname": f"mx.{policy_domain}",
                "receiving-ip": "198.51.100.25",
                "failed-session-count": failed,
            }
        ]
    policy: dict[str, Any] = {"policy-type": policy_type, "policy-domain": policy_domain}
    if policy_type == "sts":
        policy["mx-host"] = [f"mx.{policy_domain}"]
        policy["policy-string"] = [
            "version: STSv1",
            "mode: enforce",
            f"mx: mx.{policy_domain}",
            "max_age: 86400",
        ]
    entry: dict[str, Any] = {
        "policy": policy,
        "summary": {name: count for name, count in summary.items() if count is not None},
    }
    if details:
        entry["failure-details"] = details
    return {
        "organization-name": organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": contact,
        "report-id": report_id,
        "policies": [entry],
    }


def google_mail(
    report: dict[str, Any],
    *,
    sender_domain: str = "google.test",
    recipient: str = "dom-example@reports.localhost",
    report_domain: str = "example.test",
    compressed: bool = True,
) -> bytes:
    """A mail of the shape that Google sends: header order, unquoted report-type, part names; not signed."""
    body = json.dumps(report).encode()
    payload = base64.encodebytes(gzip.compress(body, mtime=0) if compressed else body).replace(b"\n", b"\r\n")
    kind, suffix = ("gzip", "json.gz") if compressed else ("json", "json")
    name = f"{sender_domain}!{report_domain}!1763856000!1763942399!001.{suffix}"
    boundary = "0000000000007877ce062148fba9"
    head = (
        "Date: Tue, 24 Nov 2026 01:02:03 -0800\r\n"
        f"TLS-Report-Domain: {report_domain}\r\n"
        f"TLS-Report-Submitter: {sender_domain}\r\n"
        f"Message-ID: <674233ab.050a0220.a0566.1e8dtls@{sender_domain}>\r\n"
        f"Subject: Report Domain: {report_domain} Submitter: {sender_domain}"
        f" Report-ID: <{report['report-id']}>\r\n"
        f"From: noreply-smtp-tls-reporting@{sender_domain}\r\n"
        f"To: {recipient}\r\n"
        f'Content-Type: multipart/report; boundary="{boundary}"; report-type=tlsrpt\r\n'
        "MIME-Version: 1.0\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        'Content-Type: text/plain; charset="UTF-8"; format=flowed; delsp=yes\r\n'
        "\r\n"
        f"This is an aggregate TLS report from {sender_domain}\r\n"
        "\r\n"
        f"--{boundary}\r\n"
        f'Content-Type: application/tlsrpt+{kind}; \r\n\tname="{name}"\r\n'
        f'Content-Disposition: attachment; \r\n\tfilename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        "\r\n"
    )
    return head.encode() + payload + f"\r\n--{boundary}--\r\n".encode()
