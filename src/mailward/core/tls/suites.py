"""Cipher suites by their numbers and names in IANA's registry, and what is weak about each.

Without those for keys that mail servers do not have: PSK, SRP, Kerberos.
"""

from enum import StrEnum
from functools import lru_cache

_DHS = ("RSA", "DH_DSS", "DH_RSA", "DHE_DSS", "DHE_RSA", "DH_anon")
_ECDHS = ("ECDH_ECDSA", "ECDHE_ECDSA", "ECDH_RSA", "ECDHE_RSA", "ECDH_anon")
_FIRST = """
RSA_WITH_NULL_MD5 RSA_WITH_NULL_SHA RSA_EXPORT_WITH_RC4_40_MD5 RSA_WITH_RC4_128_MD5 RSA_WITH_RC4_128_SHA
RSA_EXPORT_WITH_RC2_CBC_40_MD5 RSA_WITH_IDEA_CBC_SHA RSA_EXPORT_WITH_DES40_CBC_SHA RSA_WITH_DES_CBC_SHA
RSA_WITH_3DES_EDE_CBC_SHA DH_DSS_EXPORT_WITH_DES40_CBC_SHA DH_DSS_WITH_DES_CBC_SHA DH_DSS_WITH_3DES_EDE_CBC_SHA
DH_RSA_EXPORT_WITH_DES40_CBC_SHA DH_RSA_WITH_DES_CBC_SHA DH_RSA_WITH_3DES_EDE_CBC_SHA
DHE_DSS_EXPORT_WITH_DES40_CBC_SHA DHE_DSS_WITH_DES_CBC_SHA DHE_DSS_WITH_3DES_EDE_CBC_SHA
DHE_RSA_EXPORT_WITH_DES40_CBC_SHA DHE_RSA_WITH_DES_CBC_SHA DHE_RSA_WITH_3DES_EDE_CBC_SHA
DH_anon_EXPORT_WITH_RC4_40_MD5 DH_anon_WITH_RC4_128_MD5 DH_anon_EXPORT_WITH_DES40_CBC_SHA DH_anon_WITH_DES_CBC_SHA
DH_anon_WITH_3DES_EDE_CBC_SHA
"""
_EXPORT_1024 = """
RSA_EXPORT1024_WITH_RC4_56_MD5 RSA_EXPORT1024_WITH_RC2_CBC_56_MD5 RSA_EXPORT1024_WITH_DES_CBC_SHA
DHE_DSS_EXPORT1024_WITH_DES_CBC_SHA RSA_EXPORT1024_WITH_RC4_56_SHA DHE_DSS_EXPORT1024_WITH_RC4_56_SHA
DHE_DSS_WITH_RC4_128_SHA
"""
_TLS_1_3 = (
    "AES_128_GCM_SHA256 AES_256_GCM_SHA384 CHACHA20_POLY1305_SHA256 AES_128_CCM_SHA256 AES_128_CCM_8_SHA256"
)
_EC_CIPHERS = ("NULL_SHA", "RC4_128_SHA", "3DES_EDE_CBC_SHA", "AES_128_CBC_SHA", "AES_256_CBC_SHA")


class Weakness(StrEnum):
    NULL = "null"
    """Nothing is encrypted."""
    EXPORT = "export"
    """Keys of 40 or 56 bits, or RC2: read within hours by whoever wants to."""
    RC4 = "rc4"
    """RFC 7465."""
    SMALL_BLOCKS = "small-blocks"
    """3DES and IDEA: blocks of 64 bits."""
    ANONYMOUS = "anonymous"
    """No certificate is shown."""
    NO_FORWARD_SECRECY = "no-forward-secrecy"
    """Who gets the server's key later reads what was recorded before."""


@lru_cache(maxsize=1)
def names() -> dict[int, str]:
    """All suites that are known here: `TLS_...` by number."""
    found: dict[int, str] = {}

    def add(first: int, *kinds: str) -> None:
        found.update((first + at, f"TLS_{kind}") for at, kind in enumerate(kinds))

    def pairs(first: int, exchanges: tuple[str, ...], *ciphers: str) -> None:
        add(first, *(f"{exchange}_WITH_{cipher}" for exchange in exchanges for cipher in ciphers))

    add(0x0001, *_FIRST.split())
    add(0x0060, *_EXPORT_1024.split())
    add(0x1301, *_TLS_1_3.split())
    add(0xC0B4, "SHA256_SHA256", "SHA384_SHA384")  # TLS 1.3 without encryption, RFC 9150
    for first, cipher in (
        (0x2F, "AES_128"),
        (0x35, "AES_256"),
        (0x41, "CAMELLIA_128"),
        (0x84, "CAMELLIA_256"),
    ):
        pairs(first, _DHS, f"{cipher}_CBC_SHA")
    pairs(0x96, _DHS, "SEED_CBC_SHA")
    add(0x3B, "RSA_WITH_NULL_SHA256", "RSA_WITH_AES_128_CBC_SHA256", "RSA_WITH_AES_256_CBC_SHA256")
    pairs(0x3E, ("DH_DSS", "DH_RSA", "DHE_DSS"), "AES_128_CBC_SHA256")
    pairs(0x67, ("DHE_RSA",), "AES_128_CBC_SHA256")
    pairs(0x68, ("DH_DSS", "DH_RSA", "DHE_DSS", "DHE_RSA"), "AES_256_CBC_SHA256")
    pairs(0x6C, ("DH_anon",), "AES_128_CBC_SHA256", "AES_256_CBC_SHA256")
    gcm = ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384")
    pairs(0x9C, ("RSA", "DHE_RSA", "DH_RSA", "DHE_DSS", "DH_DSS", "DH_anon"), *gcm)
    pairs(0xBA, _DHS, "CAMELLIA_128_CBC_SHA256")
    pairs(0xC0, _DHS, "CAMELLIA_256_CBC_SHA256")
    pairs(0xC001, _ECDHS, *_EC_CIPHERS)
    signed = ("ECDHE_ECDSA", "ECDH_ECDSA", "ECDHE_RSA", "ECDH_RSA")
    pairs(0xC023, signed, "AES_128_CBC_SHA256", "AES_256_CBC_SHA384")
    pairs(0xC02B, signed, *gcm)
    pairs(0xC072, signed, "CAMELLIA_128_CBC_SHA256", "CAMELLIA_256_CBC_SHA384")
    for first, exchange in (
        (0xC050, "RSA"),
        (0xC052, "DHE_RSA"),
        (0xC05C, "ECDHE_ECDSA"),
        (0xC060, "ECDHE_RSA"),
    ):
        pairs(first, (exchange,), "ARIA_128_GCM_SHA256", "ARIA_256_GCM_SHA384")
    for first, exchange in (
        (0xC07A, "RSA"),
        (0xC07C, "DHE_RSA"),
        (0xC086, "ECDHE_ECDSA"),
        (0xC08A, "ECDHE_RSA"),
    ):
        pairs(first, (exchange,), "CAMELLIA_128_GCM_SHA256", "CAMELLIA_256_GCM_SHA384")
    pairs(0xC09C, ("RSA", "DHE_RSA"), "AES_128_CCM", "AES_256_CCM")
    pairs(0xC0A0, ("RSA", "DHE_RSA"), "AES_128_CCM_8", "AES_256_CCM_8")
    pairs(0xC0AC, ("ECDHE_ECDSA",), "AES_128_CCM", "AES_256_CCM", "AES_128_CCM_8", "AES_256_CCM_8")
    pairs(0xCCA8, ("ECDHE_RSA", "ECDHE_ECDSA", "DHE_RSA"), "CHACHA20_POLY1305_SHA256")
    return found


def offers(version: str) -> tuple[tuple[int, ...], ...]:
    """What to offer for `TLSv1`, `TLSv1.1`, `TLSv1.2` or `TLSv1.3`, the weakest last; in pieces, since some servers
    stumble over more than 128 suites.
    """
    known = sorted(names(), key=lambda code: (len(weaknesses(names()[code])), -code))
    newest = tuple(code for code in known if not _has_exchange(names()[code]))
    old = tuple(code for code in known if names()[code].endswith(("_SHA", "_MD5")))
    if version == "TLSv1.3":
        return (newest,)
    if version == "TLSv1.2":  # suites with other hashes and modes came with it (RFC 5246 §1.2)
        return tuple(code for code in known if code not in newest and code not in old), old
    return (old,)


@lru_cache(maxsize=512)
def weaknesses(name: str) -> frozenset[Weakness]:
    """Of a suite by its name here."""
    exchange, _, cipher = name.removeprefix("TLS_").partition("_WITH_")
    found = set()
    if cipher.startswith("NULL") or name.startswith("TLS_SHA"):
        found.add(Weakness.NULL)
    if "EXPORT" in exchange or cipher.startswith(("DES_", "RC2")):
        found.add(Weakness.EXPORT)
    elif cipher.startswith("RC4"):
        found.add(Weakness.RC4)
    if cipher.startswith(("3DES", "IDEA")):
        found.add(Weakness.SMALL_BLOCKS)
    if "anon" in exchange:
        found.add(Weakness.ANONYMOUS)
    elif _has_exchange(name) and not exchange.startswith(("DHE", "ECDHE")):
        found.add(Weakness.NO_FORWARD_SECRECY)
    return frozenset(found)


def _has_exchange(name: str) -> bool:
    """Suites of TLS 1.3 say nothing of the key exchange."""
    return "_WITH_" in name
