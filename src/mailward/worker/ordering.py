"""One order at one CA, from its first line in the database to the certificate, a step at a time.

Every step is written down before the next: an order whose worker was killed is gone on with, by its URL and with its
own key.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailward.core.acme.challenge import DNS_01, LABEL, dns_answer
from mailward.core.acme.faults import Fault, Scope
from mailward.core.acme.renewal import renewal_id
from mailward.core.acme.settings import AcmeDirectory
from mailward.core.certificate import UNREADABLE
from mailward.net import acme, clock
from mailward.net.acme import AcmeClient, AcmeFault, Authorization
from mailward.net.sealing import Keyring
from mailward.store.aio import in_store
from mailward.store.models import AcmeAccount, AcmeOrder
from mailward.store.services import certificates
from mailward.store.services.certificates import Issued

AT_ONCE = 16
"""Conversations with CAs: each has a thread and a connection of its own."""
FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 3.0
DNS_POLL_SECONDS = 0.5
SILENCE_SECONDS = 10.0
"""So long a name server that does not answer is waited for, as one that is being started again."""
PATIENCE_SECONDS = 30.0
"""So long one worker stays with an order; then it is left, and gone on with later. Less than the lease of the work."""
MAX_CHAIN = 20
"""Certificates: senders take some 100 KiB of them in a handshake."""
DIRECTORY_SECONDS = 3600.0
"""A CA's directory is read again after so long."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StillWaiting(Exception):
    """The order is gone on with later; the text says what is waited for, and nothing where it is the CA."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whom we talk to, and as whom."""

    ca: AcmeDirectory
    account_id: int
    account_url: str
    account_key: bytes


class Counter:
    """The threads in which CAs are talked to."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="acme")
        self._local = threading.local()
        self.registering: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By CA: one registration at a time. A CA that is asked twice at once for one key may fail the second time."""

    async def call(
        self,
        who: Conversation,
        method: Callable[Concatenate[AcmeClient, _P], _T],
        *args: _P.args,
        **options: _P.kwargs,
    ) -> _T:
        """One step at the CA. Raises AcmeFault."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: method(self._client(who), *args, **options))

    def _client(self, who: Conversation) -> AcmeClient:
        known: dict[tuple[str, str], tuple[float, AcmeClient]] = self._local.__dict__.setdefault(
            "clients", {}
        )
        key, now = (who.ca.url, who.account_url), clock.monotonic()
        made_at, client = known.get(key, (float("-inf"), None))
        if client is None or now - made_at > DIRECTORY_SECONDS:
            client = AcmeClient(who.ca, who.account_key, who.account_url)
            known[key] = (now, client)
        return client


@dataclass(frozen=True, slots=True)
class Showing:
    """What keeps a text from being shown by every server of a name; two empty ones: nothing."""

    missing: str = ""
    """A server that says something else, or that nobody shows it."""
    silent: str = ""
    """A server that does not answer: whoever asks goes on to the next one."""


Shown = Callable[[str, str], Awaitable[Showing]]


async def pursue(
    counter: Counter, who: Conversation, order: AcmeOrder, keyring: Keyring, shown: Shown
) -> Issued:
    """Go on with the order until its certificate is there. Raises AcmeFault and StillWaiting."""
    if not order.url:
        placed = await counter.call(who, AcmeClient.new_order, order.host, order.profile, order.replaces)
        # as any other it takes a place: see `counted_orders`
        replaces = order.replaces if placed.is_renewal else ""
        await in_store(certificates.placed, order.pk, placed.url, replaces)
        order.url = placed.url
    ends, pause = clock.monotonic() + PATIENCE_SECONDS, FIRST_POLL_SECONDS
    while True:
        state = await counter.call(who, AcmeClient.order, order.url)
        if state.status == "valid":
            return _read(await counter.call(who, AcmeClient.certificate, state), make_csr(order, keyring))
        if state.status == "invalid":
            raise AcmeFault(state.fault or await _why_invalid(counter, who, state))
        if state.status == "ready":
            state = await counter.call(who, AcmeClient.finalize, state, make_csr(order, keyring))
        elif state.status == "pending" and order.answered_at is None:
            await _prove(counter, who, order, state, shown)
        if clock.monotonic() > ends:
            raise StillWaiting
        if state.status != "valid":
            # as soon as the CA says, or sooner where that is long: it costs one request
            told = state.retry_after.total_seconds() if state.retry_after else 0.0
            await asyncio.sleep(min(max(pause, told), LONGEST_POLL_SECONDS))
            pause = min(pause * 1.6, LONGEST_POLL_SECONDS)


async def _prove(
    counter: Counter, who: Conversation, order: AcmeOrder, state: acme.Order, shown: Shown
) -> None:
    for url in state.authorizations:
        authorization: Authorization = await counter.call(who, AcmeClient.authorization, url)
        if authorization.status != "pending":
            continue  # RFC 8555 §7.5: it may hold from an earlier order
        challenge = authorization.challenges.get(order.method)
        if challenge is None:
            offered = ", ".join(authorization.challenges)
            raise AcmeFault(Fault(Scope.NAME, f"the CA offers {offered}, not {order.method}"))
        thumbprint = await counter.call(who, AcmeClient.read_thumbprint)
        # committed before the CA is told: every node answers from then on
        text = f"{challenge.token}.{thumbprint}"
        await in_store(certificates.challenged, order, challenge.token, text)
        if order.method == DNS_01:
            await wait_for_dns(order.host, dns_answer(text), shown)
        await counter.call(who, AcmeClient.answer, challenge)
    await in_store(certificates.answered, order.pk)
    order.answered_at = clock.now()


async def wait_for_dns(host: str, text: str, shown: Shown) -> None:
    """Until each server has it, secondaries too: a CA may ask any of them, and asks once. One that is dead may stay so,
    and the others prove as much without it.
    """
    begun = clock.monotonic()
    while True:
        showing = await shown(f"{LABEL}.{host}", text)
        waited = clock.monotonic() - begun
        if not showing.missing and (not showing.silent or waited > SILENCE_SECONDS):
            return
        if waited > PATIENCE_SECONDS:
            raise StillWaiting(showing.missing or showing.silent)
        await asyncio.sleep(DNS_POLL_SECONDS)


async def _why_invalid(counter: Counter, who: Conversation, state: acme.Order) -> Fault:
    for url in state.authorizations:
        authorization: Authorization = await counter.call(who, AcmeClient.authorization, url)
        if authorization.fault is not None:
            return authorization.fault
    return Fault(Scope.NAME, "the CA gave the order up without saying why")


def make_csr(order: AcmeOrder, keyring: Keyring) -> bytes:
    """The signing request of the order's own key (RFC 2986), DER. Raises Unopenable."""
    pem = keyring.open(bytes(order.key), certificates.key_purpose(order.host))
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of an order is an elliptic curve's")
    names = x509.SubjectAlternativeName([x509.DNSName(order.host)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def _read(text: str, csr_der: bytes) -> Issued:
    """Raises AcmeFault for what is not a certificate of this signing request: it would take the place of one that is
    served.
    """
    wanted = x509.load_der_x509_csr(csr_der)
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
        if len(chain) > MAX_CHAIN:
            raise ValueError(f"it comes with {len(chain) - 1} more")
        leaf = chain[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = leaf.public_key()
    except (*UNREADABLE, x509.ExtensionNotFound) as error:
        raise AcmeFault(Fault(Scope.NAME, f"the CA's certificate cannot be read: {error}")) from error
    asked = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if key != wanted.public_key() or not set(asked) <= set(names):
        raise AcmeFault(Fault(Scope.NAME, "the CA's certificate is for another key or another name"))
    if leaf.not_valid_after_utc <= clock.now():
        raise AcmeFault(Fault(Scope.NAME, f"the CA's certificate ended at {leaf.not_valid_after_utc}"))
    try:
        identifier = renewal_id(leaf)
    except ValueError:
        identifier = ""
    issuer = leaf.issuer.rfc4514_string()[:300]
    # what was parsed, and nothing that stood around it
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain).decode()
    return Issued(pem, issuer, leaf.not_valid_before_utc, leaf.not_valid_after_utc, identifier)


async def open_account(counter: Counter, ca: AcmeDirectory, keyring: Keyring) -> Conversation:
    """Ours at this CA, registered where it is not yet. Raises AcmeFault."""
    purpose = certificates.account_purpose(ca.url)

    def find() -> AcmeAccount:
        return certificates.ensure_account(ca.url, lambda: keyring.seal(acme.make_key(), purpose))

    def conversation(account: AcmeAccount) -> Conversation:
        return Conversation(ca, account.pk, account.url, keyring.open(bytes(account.key), purpose))

    if (account := await in_store(find)).url:
        return conversation(account)
    async with counter.registering[ca.url]:
        if not (account := await in_store(find)).url:
            # the key was committed first: the same key is the same account, however often this is done
            account.url = await counter.call(conversation(account), AcmeClient.register)
            await in_store(certificates.registered, account.pk, account.url)
    return conversation(account)
