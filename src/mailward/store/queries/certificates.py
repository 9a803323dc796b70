"""Certificates as they are served and shown."""

from dataclasses import dataclass

from mailward.store.models import AcmeOrder, Certificate, CertificateSequence


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate as a node keeps it."""

    host: str
    sequence: int
    chain: str
    sealed_key: bytes


def certificate_sequence() -> int:
    """Changes with every certificate that is issued."""
    return CertificateSequence.objects.filter(pk=1).values_list("value", flat=True).first() or 0


def certificates_after(sequence: int, limit: int) -> list[Served]:
    """Those that came after it, in order: the last of a host is the one to serve."""
    rows = Certificate.objects.filter(sequence__gt=sequence).order_by("sequence")[:limit]
    return [Served(row.host, row.sequence, row.chain, bytes(row.key)) for row in rows]


def served_sequences() -> dict[str, int]:
    """Host -> the sequence of its newest certificate."""
    rows = Certificate.objects.order_by("sequence").values_list("host", "sequence")
    return dict(rows.iterator(chunk_size=5_000))


def key_authorization_of(token: str, host: str) -> str | None:
    """What is answered to a CA that asks for this token at this name, while the order is open."""
    return (
        AcmeOrder.objects.filter(token=token, host=host, ended_at=None, method="http-01")
        .values_list("key_authorization", flat=True)
        .first()
    )
