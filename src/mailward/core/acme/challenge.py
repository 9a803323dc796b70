"""What proves to a CA that a name is ours (RFC 8555 section 8)."""

import base64
import hashlib

HTTP_01, DNS_01 = "http-01", "dns-01"
LABEL = "_acme-challenge"


def dns_answer(key_authorization: str) -> str:
    """The TXT record of a DNS-01 challenge (section 8.4)."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def own_label(host: str) -> str:
    """Below our zone, where the challenge of a name of the installation's own is answered: what its CNAME leads to. Not
    a secret, since the operator alone publishes it; no domain has a label with a hyphen.
    """
    return f"own-{hashlib.sha256(host.lower().encode()).hexdigest()[:20]}"
