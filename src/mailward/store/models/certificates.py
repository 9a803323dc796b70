"""Certificates that we order (RFC 8555): accounts at CAs, orders under way, what was issued.

Private keys are sealed (mailward.net.sealing): the database alone gives none away.
"""

from django.db import models

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain
from mailward.store.rowid import RowId


class AcmeAccount(models.Model):
    """Ours at one CA, and how we fare with it."""

    directory = models.CharField(max_length=500, unique=True)
    key = models.BinaryField()
    """Sealed."""
    url = models.CharField(max_length=500, blank=True)
    """Empty: not registered yet."""
    failures = models.PositiveIntegerField(default=0)
    """Of the CA itself, one after the other."""
    blocked_until = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=1000, blank=True)
    last_error_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now)


class Certificate(models.Model):
    """One that was issued. Never changed after it is written, but for the seal of its key."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(
        Organisation, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    domain = models.ForeignKey(Domain, null=True, on_delete=models.CASCADE, related_name="certificates")
    """None, as the organisation: of a name of the installation's own."""
    host = models.CharField(max_length=253)
    directory = models.CharField(max_length=500)
    profile = models.CharField(max_length=100, blank=True)
    chain = models.TextField()
    """PEM, leaf first."""
    key = models.BinaryField()
    """Sealed."""
    issuer = models.CharField(max_length=300)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    renewal_id = models.CharField(max_length=200, blank=True)
    """RFC 9773 section 4.1."""
    sequence = models.BigIntegerField(unique=True)
    """Counts up in the order of the commits: what a node has not seen yet has a larger one."""
    created_at = models.DateTimeField(default=clock.now)


class CertificateSequence(models.Model):
    """One row (id 1) with the last sequence given out."""

    value = models.BigIntegerField(default=0)


class Care(models.Model):
    """How a certificate stands, and when it is looked after next."""

    directory = models.CharField(max_length=500, blank=True)
    """The CA that is asked first; empty: in the order of the settings."""
    profile = models.CharField(max_length=100, blank=True)
    """Empty: the one that the settings name for the CA."""
    current = models.ForeignKey(Certificate, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=20, default="claim")
    """See mailward.core.acme.state."""
    detail = models.CharField(max_length=1000, blank=True)
    """What is waited for, or what the CA said."""
    due_at = models.DateTimeField(db_index=True)
    waiting_since = models.DateTimeField(null=True)
    """Since when a certificate is wanted that is not there."""
    renew_at = models.DateTimeField(null=True)
    renew_why = models.CharField(max_length=20, blank=True)
    explanation_url = models.CharField(max_length=500, blank=True)
    """Where the CA explains why it wants it renewed then."""
    ask_at = models.DateTimeField(null=True)
    """When the CA is asked next whether that is still so."""
    failures = models.JSONField(default=dict)
    """Directory -> [how many in a row, not before when]."""
    failed_at = models.DateTimeField(null=True)
    """When an order failed last; None: none has since the last certificate."""
    silent_address = models.CharField(max_length=64, blank=True, default="", db_default="")
    """Of the name: it did not answer us either when a CA failed to connect, and others did. Empty: that is not so."""
    silent_directory = models.CharField(max_length=500, blank=True, default="", db_default="")
    """That CA."""

    class Meta:
        abstract = True


class CertificateCare(Care):
    """A domain's certificate."""

    domain = models.OneToOneField(
        Domain, primary_key=True, on_delete=models.CASCADE, related_name="certificate_care"
    )
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    dns_word = models.CharField(max_length=64, blank=True, default="", db_default="")
    """Random; our nameserver shows it where it shows challenges, while no CA wants to see one. Empty: not needed."""


class OwnNameCare(Care):
    """The certificate of a name of the installation's own, such as that of the HTTPS door for reports: nobody's domain,
    and no organisation's.
    """

    host = models.CharField(max_length=253, primary_key=True)


class AcmeOrder(models.Model):
    """An order at a CA: written down before it is placed, and gone on with after a restart."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(
        Organisation, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    domain = models.ForeignKey(
        Domain, null=True, on_delete=models.CASCADE, related_name="orders", db_index=False
    )
    account = models.ForeignKey(AcmeAccount, on_delete=models.CASCADE, related_name="orders", db_index=False)
    host = models.CharField(max_length=253)
    key = models.BinaryField()
    """Of the certificate, sealed; with every attempt at this order the same."""
    method = models.CharField(max_length=20)
    """`http-01` or `dns-01`."""
    profile = models.CharField(max_length=100, blank=True)
    replaces = models.CharField(max_length=200, blank=True)
    url = models.CharField(max_length=500, blank=True)
    """Empty: not placed yet."""
    token = models.CharField(max_length=200, blank=True, db_index=True)
    key_authorization = models.CharField(max_length=300, blank=True)
    """What is answered at port 80 (RFC 8555 section 8.1)."""
    answered_at = models.DateTimeField(null=True)
    """When the CA was told that it may look."""
    placed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=1000, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["domain"], condition=models.Q(ended_at__isnull=True), name="one_open_order_a_domain"
            ),
            models.UniqueConstraint(
                fields=["host"],
                condition=models.Q(ended_at__isnull=True, domain__isnull=True),
                name="one_open_order_an_own_name",
            ),
        ]
        indexes = [models.Index(fields=["account", "placed_at"], name="orders_by_account")]
