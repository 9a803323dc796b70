"""Why a handshake failed, in a few words that are always the same: OpenSSL has some hundred."""

import ssl

LOST, TIMEOUT, OTHER = "connection-lost", "timeout", "other"
_WORDS = {
    # our own answer to a name that we have no certificate for: the callback refuses
    "CALLBACK_FAILED": "no-certificate",
    "HTTP_REQUEST": "no-tls",
    "HTTPS_PROXY_REQUEST": "no-tls",
    "WRONG_VERSION_NUMBER": "no-tls",
    "UNSUPPORTED_PROTOCOL": "old-protocol",
    "VERSION_TOO_LOW": "old-protocol",
    "NO_SHARED_CIPHER": "no-shared-cipher",
    # what the client said about our certificate, by alert
    "TLSV1_ALERT_UNKNOWN_CA": "certificate-refused",
    "SSLV3_ALERT_BAD_CERTIFICATE": "certificate-refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate-refused",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate-refused",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate-refused",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "certificate-refused",
    "UNEXPECTED_EOF_WHILE_READING": LOST,
}
FAULTS = tuple(sorted({*_WORDS.values(), LOST, TIMEOUT, OTHER}))


def name_fault(error: ssl.SSLError) -> str:
    """One of FAULTS."""
    return _WORDS.get(error.reason or "", OTHER)
