"""DKIM (RFC 6376) as TLS reports need it (RFC 8460 section 3).

A report comes from a stranger, and its report-id is easy to guess. Whoever can forge one can raise a false
alarm, or send an empty report early in the hope that it suppresses the real one. So a report counts only
when the domain of its From field, or a parent of it, signed the whole mail, with a key that is meant for
TLS reports:

    for signature in find_signatures(raw):
        ...                                # ask DNS for the TXT records at signature.key_name
    verdict = verify(raw, answers, now)    # pass, fail, absent, key-gone, temporary

The public key stands in a TXT record at `<selector>._domainkey.<domain>`. The caller asks for it: nothing
here touches the network, and nothing here knows the time.

`vouched_domain` reads what a relay of ours has found before us (Authentication-Results, RFC 8601), and
`sign` makes signatures, for the reports that we send.

Checked with `cryptography` rather than by a DKIM library: that lets `now` be an argument, bounds the work
that a hostile mail costs (the usual implementation takes quadratic time for long runs of white space), and
knows Ed25519 without another dependency. The tests hold it against an independent implementation.

Deliberately not here: `l=` (refused: RFC 8460 section 3), SHA-1 (refused: RFC 8301), keys below 1024 bits
(refused: RFC 8301), ARC, and policies of the sender (DMARC).
"""

from mailward.core.dkim.authres import vouched_domain
from mailward.core.dkim.key import KeyAnswer, KeyStatus
from mailward.core.dkim.message import Malformed, Message, from_domain, only_address, split_message
from mailward.core.dkim.sign import SigningKey, sign
from mailward.core.dkim.signature import MAX_TRIED, Signature, find_signatures
from mailward.core.dkim.verify import DkimVerdict, Result, verify

__all__ = [
    "MAX_TRIED",
    "DkimVerdict",
    "KeyAnswer",
    "KeyStatus",
    "Malformed",
    "Message",
    "Result",
    "Signature",
    "SigningKey",
    "find_signatures",
    "from_domain",
    "only_address",
    "sign",
    "split_message",
    "verify",
    "vouched_domain",
]
