"""All private keys in the database sealed anew, by the key that is first now."""

from collections.abc import Collection, Iterator

from django.db import transaction

from mailward.net import clock
from mailward.net.sealing import Keyring, Unopenable, sealed_by
from mailward.store.models import AcmeAccount, AcmeOrder, Certificate, CertificateCare, DnsZone, OwnNameCare
from mailward.store.services.certificates import account_purpose, key_purpose, next_sequence
from mailward.store.services.dnsupdates import zone_purpose

_ROWS = 200


def reseal(keyring: Keyring) -> int:
    """What another key has sealed, a few rows a transaction. Returns how many it was. Raises Unopenable at the first
    that none of the keys opens: what came before is done.
    """
    first, count, served = keyring.first, 0, _Served()
    for model, ids in _sealed_otherwise(first):
        with transaction.atomic():
            for row in model.objects.select_for_update().filter(pk__in=ids):
                purpose = _purpose(row)
                row.key = keyring.seal(keyring.open(bytes(row.key), purpose), purpose)
                row.save(update_fields=["key"])
                count += 1
            if model is Certificate:
                served.hand_out(frozenset(ids))
    return count


def is_done(keyring: Keyring) -> bool:
    """Whether nothing is sealed by another key than the first."""
    return next(_sealed_otherwise(keyring.first), None) is None


class _Served:
    """The certificates that nodes serve: the last of each host, and the last of the installation's own for the report
    doors.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._last_own: dict[str, int] = {}
        self._seen = 0
        self._catch_up()

    def hand_out(self, resealed: Collection[int]) -> None:
        """Nodes keep the keys sealed too: they fetch again what they serve, and that alone. What a later certificate
        has replaced stays behind it.
        """
        next_sequence()  # from here to the commit nobody adds a certificate
        self._catch_up()
        hosts = [host for last in (self._last, self._last_own) for host, pk in last.items() if pk in resealed]
        for host in dict.fromkeys(hosts):
            # both where the host has two, in their order: an own name may be a domain's as well
            for pk in dict.fromkeys((self._last_own.get(host, self._last[host]), self._last[host])):
                Certificate.objects.filter(pk=pk).update(sequence=next_sequence())

    def _catch_up(self) -> None:
        latest = Certificate.objects.order_by("sequence").values_list("sequence", flat=True).last()
        rows = Certificate.objects.filter(sequence__gt=self._seen).order_by("sequence")
        for last, found in ((self._last, rows), (self._last_own, rows.filter(domain=None))):
            last.update(found.values_list("host", "pk").iterator())
        self._seen = latest or 0


def _purpose(row: AcmeAccount | AcmeOrder | Certificate | DnsZone) -> str:
    match row:
        case AcmeAccount():
            return account_purpose(row.directory)
        case DnsZone():
            return zone_purpose(row.organisation_id, row.zone)
        case _:
            return key_purpose(row.host)


def open_one(keyring: Keyring) -> None:
    """Raises Unopenable where what was sealed last does not open."""
    certificate = Certificate.objects.order_by("-sequence").first()
    if certificate is not None:
        keyring.open(bytes(certificate.key), key_purpose(certificate.host))
        return
    account = AcmeAccount.objects.order_by("-pk").first()
    if account is not None:
        keyring.open(bytes(account.key), account_purpose(account.directory))


@transaction.atomic
def forget_unopenable(keyring: Keyring) -> int:
    """Remove what has a key that does not open: certificates, orders and accounts, which are had anew, and the
    access to customers' own DNS servers, which they enter again. Returns how many.
    """
    count = 0
    for model in (Certificate, AcmeOrder, AcmeAccount, DnsZone):
        lost = [row.pk for row in model.objects.all() if not _opens(keyring, row)]
        for start in range(0, len(lost), _ROWS):
            model.objects.filter(pk__in=lost[start : start + _ROWS]).delete()
        count += len(lost)
    now = clock.now()
    CertificateCare.objects.filter(current=None).update(due_at=now, waiting_since=now)
    OwnNameCare.objects.filter(current=None).update(due_at=now, waiting_since=now)
    return count


def _opens(keyring: Keyring, row: AcmeAccount | AcmeOrder | Certificate | DnsZone) -> bool:
    try:
        keyring.open(bytes(row.key), _purpose(row))
    except Unopenable:
        return False
    return True


def _sealed_otherwise(
    first: bytes,
) -> Iterator[tuple[type[AcmeAccount] | type[Certificate] | type[AcmeOrder] | type[DnsZone], list[int]]]:
    for model in (AcmeAccount, AcmeOrder, Certificate, DnsZone):
        last = -1
        while rows := list(model.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "key")[:_ROWS]):
            last = rows[-1][0]
            ids = [pk for pk, key in rows if sealed_by(bytes(key)) != first]
            if ids:
                yield model, ids
