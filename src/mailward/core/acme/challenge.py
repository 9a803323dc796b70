"""What proves to a CA that a name is ours (RFC 8555 section 8)."""

import base64
import hashlib

HTTP_01, DNS_01 = "http-01", "dns-01"
LABEL = "_acme-challenge"


def dns_answer(key_authorization: str) -> str:
    """The TXT record of a DNS-01 challenge (section 8.4)."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
