"""The receivers of the test bed: a host name, an address and a certificate for each way to be right or wrong.

`<label>.mx.test`, in a signed zone, or `<label>.evil.test`, the attacker's, in an unsigned one.
"""

from mailward.lab.certs import DAY
from mailward.lab.network import address
from mailward.lab.receivers import Mailboxes, Receiver
from mailward.lab.web import WEB
from mailward.lab.zones import Zone

RECEIVERS = (
    Receiver("valid", 25),
    Receiver("expired", 26, expires_in=-DAY),
    Receiver("selfsigned", 27, is_self_signed=True),
    Receiver("misnamed", 28, names=("other.example",)),
    Receiver("plain", 29, has_tls=False),
    Receiver("dane", 30, is_self_signed=True, tlsa="3 1 1"),
    Receiver("danewrong", 31, is_self_signed=True, tlsa=f"3 1 1 {'00' * 32}"),
    Receiver("daneunusable", 32, is_self_signed=True, tlsa=f"1 1 1 {'00' * 32}"),
    Receiver("nolookup", 33),
    Receiver("smart", 34),
    Receiver("deep.sub", 35),
    Receiver("stripped", 66, has_tls=False, zone="evil.test"),
    Receiver("owncert", 67, zone="evil.test"),
    Receiver("forged", 68, names=("valid.mx.test",), is_self_signed=True, zone="evil.test"),
)
NUMBERS = [receiver.number for receiver in RECEIVERS]


def zones(mailboxes: Mailboxes) -> list[Zone]:
    """`nolookup` answers nobody who asks for its TLSA records, `smart` has a policy of its own."""
    signed = [*mailboxes.records("mx.test"), "alias CNAME dane"]
    signed += ['_mta-sts.smart TXT "v=STSv1; id=1;"', f"mta-sts.smart A {address(WEB)}"]
    return [
        Zone("mx.test.", signed, is_signed=True),
        Zone("evil.test.", mailboxes.records("evil.test")),
        Zone("_tcp.nolookup.mx.test.", is_bogus=True, parent="mx.test."),
    ]
