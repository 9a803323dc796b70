"""A certificate authority's ACME server (RFC 8555), by certbot's `acme`: each method is one step, and blocks.

What the library does not do is done here: a bad nonce is tried again until it is taken, a step has a total deadline and
each response a byte limit, nothing redirects, Retry-After is kept, and polling is the caller's business.

    client = AcmeClient(ca, key_pem, account_url)
    order = client.new_order("mta-sts.example.org")

Every method raises AcmeFault. A client belongs to one thread at a time.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import josepy as jose
import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import mailward
from mailward.core.acme.faults import Fault, Scope, scope_of
from mailward.core.acme.renewal import RenewalInfo
from mailward.core.acme.settings import AcmeDirectory
from mailward.net import clock
from mailward.net.boundedhttps import BoundedAdapter

STEP_SECONDS = 30.0
MAX_NONCES = 20
"""So often a request is made with another nonce: where every second one is refused, once in a million is not enough."""
_MAX_WORDS = 1_000
_MAX_URL = 500
_MAX_TOKEN = 128
_MAX_AUTHORIZATIONS = 10
"""Of an order, which is for one name and has one (RFC 8555 section 7.1.3): each is asked about."""


class AcmeFault(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Order:
    """RFC 8555 section 7.1.3."""

    url: str
    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    fault: Fault | None = None
    retry_after: timedelta | None = None
    is_renewal: bool = False
    """Of `new_order`: the CA has taken it as what follows another certificate (RFC 9773 section 5)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    url: str
    token: str
    status: str
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """RFC 8555 section 7.1.4."""

    status: str
    challenges: Mapping[str, Challenge]
    """By method."""
    retry_after: timedelta | None = None

    @property
    def fault(self) -> Fault | None:
        return next((each.fault for each in self.challenges.values() if each.fault is not None), None)


class _NewOrder(messages.NewOrder):
    replaces: str = jose.field("replaces", omitempty=True)


class _Network(ClientNetwork):
    def __init__(self, key: jose.JWK, account: messages.RegistrationResource | None, ca_file: str) -> None:
        super().__init__(
            key,
            account,
            alg=jose.ES256,
            verify_ssl=ca_file or True,  # type: ignore[arg-type]  # requests takes a file too
            user_agent=f"mailward/{mailward.__version__}",
        )
        self.retry_after: timedelta | None = None
        self.status = 0
        self.adapter = BoundedAdapter(self._look)
        self.session.mount("https://", self.adapter)
        self.session.adapters.pop("http://", None)
        self.session.max_redirects = 0

    def _look(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.retry_after = read_retry_after(response.headers.get("Retry-After"))

    def post(self, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - as the library has it
        for _ in range(MAX_NONCES):
            try:
                # the library takes `new_nonce_url` out of what it is given
                return self._post_once(*args, **dict(options))
            except messages.Error as error:
                # RFC 8555 §6.5: try again, with the nonce that came with the error
                if error.code != "badNonce":
                    raise
        raise messages.Error.with_code("badNonce", detail=f"{MAX_NONCES} nonces were refused")


class AcmeClient:
    def __init__(self, ca: AcmeDirectory, key_pem: bytes, account_url: str = "") -> None:
        """`key_pem`: of the account, P-256."""
        self._ca = ca
        key = serialization.load_pem_private_key(key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the key of an account is an elliptic curve's")
        self._key = jose.JWKEC(key=key)
        self._net = _Network(self._key, _registration(account_url), ca.ca_file)
        self._client: ClientV2 | None = None

    def read_thumbprint(self) -> str:
        """What a key authorization ends with (RFC 8555 section 8.1)."""
        return jose.b64encode(self._key.thumbprint()).decode()

    def read_identities(self) -> frozenset[str]:
        """The CA's own domains in CAA records."""
        with _faults(self._net):
            own = self._ca.caa_identities or self._meta().get("caaIdentities") or ()
            return frozenset(str(each).lower() for each in own)

    def offers_renewal_info(self) -> bool:
        return bool(self._directory().get("renewalInfo"))

    def register(self) -> str:
        """The account's URL; the same one for the same key, however often."""
        with _faults(self._net):
            client = self._connect()
            self._net.account = None
            binding = None
            if self._ca.eab_kid:
                binding = messages.ExternalAccountBinding.from_data(
                    self._key.public_key(), self._ca.eab_kid, self._ca.eab_hmac_key, client.directory
                )
            wanted = messages.NewRegistration.from_data(
                email=self._ca.contact or None, terms_of_service_agreed=True, external_account_binding=binding
            )
            try:
                url = str(client.new_account(wanted).uri)
            except errors.ConflictError as error:
                url = str(error.location)
            _text(url, _MAX_URL)
            self._net.account = _registration(url)
            return url

    def new_order(self, host: str, profile: str = "", replaces: str = "") -> Order:
        """`replaces`: the renewal identifier of the certificate that this one follows (RFC 9773 section 5). A profile
        that the CA does not name is a fault of the name: a CA may pass over it, and give another kind of certificate.
        """
        with _faults(self._net):
            if profile:
                self._check_profile(profile)
            wanted = _NewOrder(
                identifiers=[messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=host)],
                **({"profile": profile} if profile else {}),
                **({"replaces": replaces} if replaces else {}),
            )
            try:
                response = self._post(self._connect().directory["newOrder"], wanted)
            except (errors.ConflictError, messages.Error) as error:
                # RFC 9773 §5: it was replaced already, or by another account, or the CA does not know its issuer any
                # more; that is no reason to go without
                if not replaces or _is_of_the_ca(error):
                    raise
                return self.new_order(host, profile)
            order = self._order(response.headers.get("Location", ""), response)
            return replace(order, is_renewal=bool(replaces))

    def order(self, url: str) -> Order:
        with _faults(self._net):
            return self._order(url, self._post(url, None))

    def authorization(self, url: str) -> Authorization:
        with _faults(self._net):
            body = self._post(url, None).json()
            found = {}
            for each in body.get("challenges", ()):
                fault = _read_fault(each["error"]) if each.get("error") else None
                token = _text(each.get("token", ""), _MAX_TOKEN)
                challenge = Challenge(each["url"], token, each.get("status", ""), fault)
                found[str(each.get("type"))] = challenge
            return Authorization(str(body.get("status")), found, self._net.retry_after)

    def answer(self, challenge: Challenge) -> None:
        """Tell the CA that it may look."""
        with _faults(self._net):
            # an empty object, which the library makes of any response to a challenge (RFC 8555 §7.5.1)
            self._post(challenge.url, challenges.HTTP01Response(key_authorization=""))

    def finalize(self, order: Order, csr_der: bytes) -> Order:
        with _faults(self._net):
            wanted = _Csr(csr=base64.urlsafe_b64encode(csr_der).decode().rstrip("="))
            return self._order(order.url, self._post(order.finalize, wanted))

    def certificate(self, order: Order) -> str:
        """The chain, PEM, leaf first."""
        with _faults(self._net):
            return str(self._post(order.certificate, None).text)

    def renewal_info(self, renewal_id: str) -> tuple[RenewalInfo, timedelta | None]:
        """RFC 9773: when the CA would like it renewed, and after which time it wants to be asked again."""
        with _faults(self._net):
            base = str(self._directory()["renewalInfo"])
            body = self._net.get(f"{base.rstrip('/')}/{renewal_id}").json()
            window = body["suggestedWindow"]
            info = RenewalInfo(
                _time(window["start"]),
                _time(window["end"]),
                _text(body.get("explanationURL") or "", _MAX_URL),
            )
            return info, self._net.retry_after

    def _check_profile(self, profile: str) -> None:
        """draft-ietf-acme-profiles section 4: nobody asks for one that the directory does not name."""
        offered = self._meta().get("profiles") or {}
        if profile not in offered:
            has = (
                f"it has {', '.join(sorted(map(str, offered)))[:_MAX_WORDS]}"
                if offered
                else "it has none at all"
            )
            words = f"{self._ca.url} has no profile {profile} for certificates: {has}"
            raise AcmeFault(Fault(Scope.NAME, words, "invalidProfile"))

    def _connect(self) -> ClientV2:
        if self._client is None:
            self._client = ClientV2(ClientV2.get_directory(self._ca.url, self._net), self._net)
        return self._client

    def _directory(self) -> Mapping[str, Any]:
        with _faults(self._net):
            content: Mapping[str, Any] = self._connect().directory.to_json()
            return content

    def _meta(self) -> Mapping[str, Any]:
        meta: Mapping[str, Any] | None = self._directory().get("meta")
        return meta or {}

    def _post(self, url: str, message: jose.JSONDeSerializable | None) -> requests.Response:
        response: requests.Response = self._net.post(
            url, message, new_nonce_url=self._connect().directory["newNonce"]
        )
        return response

    def _order(self, url: str, response: requests.Response) -> Order:
        body = response.json()
        authorizations = tuple(body.get("authorizations", ()))
        if len(authorizations) > _MAX_AUTHORIZATIONS:
            raise ValueError(f"{len(authorizations)} authorizations for one name")
        return Order(
            _text(url, _MAX_URL),
            str(body.get("status")),
            authorizations,
            str(body.get("finalize", "")),
            str(body.get("certificate") or ""),
            _read_fault(body["error"]) if body.get("error") else None,
            self._net.retry_after,
        )


class _Csr(jose.JSONObjectWithFields):
    csr: str = jose.field("csr")


class _faults:  # noqa: N801 - used like a function
    """One step: it ends in time, and what the libraries raise becomes an AcmeFault."""

    def __init__(self, net: _Network) -> None:
        self._net, self._step = net, net.adapter.step(STEP_SECONDS)

    def __enter__(self) -> None:
        self._net.retry_after, self._net.status = None, 0
        self._step.__enter__()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._step.__exit__(None, None, None)
        if error is None or isinstance(error, AcmeFault):
            return
        if isinstance(error, messages.Error):
            raise AcmeFault(_fault_of(error, self._net.status, self._net.retry_after)) from error
        if isinstance(error, requests.RequestException):
            raise AcmeFault(Fault(Scope.CA, f"the CA cannot be reached: {_plain(error)}")) from error
        if isinstance(
            error, errors.Error | jose.Error | ValueError | LookupError | TypeError | AttributeError
        ):
            told = self._net.status or "no status"
            words = f"the CA answered in a way that is not ACME ({told}): {_plain(error)}"
            raise AcmeFault(Fault(Scope.CA, words, "", self._net.retry_after)) from error


def _registration(url: str) -> messages.RegistrationResource | None:
    return messages.RegistrationResource(uri=url, body=messages.Registration()) if url else None


def _read_fault(problem: Mapping[str, Any]) -> Fault:
    return _fault_of(messages.Error.from_json(dict(problem)), None, None)


def _fault_of(error: messages.Error, status: int | None, retry_after: timedelta | None) -> Fault:
    code = _code(error)
    words = [str(error.detail or error.title or error.typ)]
    words += [str(each.detail or each.typ) for each in error.subproblems or ()]
    # a database takes no NUL
    text = "; ".join(words)[:_MAX_WORDS].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return Fault(scope_of(code, status), text, code, retry_after)


def _is_of_the_ca(error: Exception) -> bool:
    return isinstance(error, messages.Error) and scope_of(_code(error)) is Scope.CA


def _code(error: messages.Error) -> str:
    return str(error.typ).rpartition(":")[2]


_CONNECTION = re.compile(r"^\w*(?:Connection|Pool)\(host='[^']*', port=[^)]*\): ")
"""How urllib3 begins: whoever reads it knows which CA was asked."""


def _plain(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or inner
    return _CONNECTION.sub("", " ".join(str(reason).split()))[:300]


def _text(value: object, most: int) -> str:
    """As it can be kept. Raises ValueError."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise ValueError(f"a text of more than {most} characters, or none")
    return value


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def read_retry_after(text: str | None) -> timedelta | None:
    """RFC 9110 section 10.2.3: seconds or a date."""
    if text is None:
        return None
    try:
        return timedelta(seconds=min(max(int(text), 0), 10**8))
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text) - clock.now(), timedelta(0))
    except (ValueError, TypeError, OverflowError):
        return None


def make_key() -> bytes:
    """A P-256 key, PEM (RFC 8555 leaves the kind to us; small, and every sender takes it)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
