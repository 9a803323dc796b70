"""The entries for what only shows over time."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import SEE_KEY, SEE_POLICY

_NEW_ID = "Give `_mta-sts.DOMAIN` a new `id`: senders fetch the policy again at their next message."

ENTRIES = (
    Explanation(
        code=Code.STS_ID_UNCHANGED,
        title="Policy changed, its id did not",
        clause="the policy of DOMAIN changed and its record kept the id",
        meaning=(
            "The policy is another than before, and the record still has the same `id`. Senders that hold a copy have "
            "no reason to fetch the new one until they refresh it."
        ),
        severity=Severity.WARNING,
        steps=(_NEW_ID, "From now on: the policy first, then the `id`, every time."),
        section="RFC 8461 section 3.1; RFC 8461 section 8.1",
    ),
    Explanation(
        code=Code.STS_ID_BEFORE_POLICY,
        title="The id was changed before the policy",
        clause="the record of DOMAIN got its new id before the policy changed",
        meaning=(
            "The new `id` was published while the old policy was still served. Senders that looked in between keep the "
            "old policy under the new `id`, and have no reason to fetch again until they refresh it."
        ),
        severity=Severity.WARNING,
        steps=(_NEW_ID, "From now on: the policy first, on every server, then the `id`."),
        section="RFC 8461 section 8.1",
    ),
    Explanation(
        code=Code.STS_ID_CHANGED_ALONE,
        title="The id changed, the policy did not",
        clause="the record of DOMAIN got a new id and the policy stayed as it was",
        meaning=(
            "Every sender fetches the policy again and gets what it has. That costs a little and harms nobody; but if "
            "a new policy was to come with it, it is not served yet."
        ),
        severity=Severity.NOTICE,
        steps=(SEE_POLICY, "If that is the policy you mean, leave all as it is."),
        section="RFC 8461 section 3.1",
    ),
    Explanation(
        code=Code.POLICY_REMOVED,
        title="Policy removed while copies live",
        clause="the policy of DOMAIN was removed while senders hold copies of it",
        meaning=(
            "DOMAIN had a policy in force and announces none now. Senders go on following their copies for the rest of "
            "the `max_age`, and refuse MX hosts or certificates that those do not allow."
        ),
        severity=Severity.WARNING,
        steps=(
            "Change neither MX hosts nor their names until the last copy has ended; the evidence has the day.",
            (
                "To leave sooner: serve the policy again with `mode: none` and a short `max_age`, and announce it with "
                "a new `id`. Remove both when the day has passed."
            ),
        ),
        section="RFC 8461 section 8.3",
    ),
    Explanation(
        code=Code.MX_NOT_IN_OLD_POLICY,
        title="MX host not in policies that senders hold",
        clause="MX_HOST is not in a policy that senders still hold",
        meaning=(
            "A policy that was in force before does not cover MX_HOST, and nothing tells senders that hold a copy to "
            "fetch another. They do not deliver to MX_HOST while the copy lives."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Serve a policy that covers MX_HOST; the evidence shows what the old one covers.",
            _NEW_ID,
            "Until senders have it, keep an MX host that the old policy covers.",
        ),
        section="RFC 8461 section 5.1; RFC 8461 section 8.3",
    ),
    Explanation(
        code=Code.CERTIFICATE_ISSUER_CHANGED,
        title="Certificate from another authority",
        clause="the certificate is issued by another authority than before",
        meaning=(
            "The certificate comes from an authority that was never seen here before. If you changed it, all is well."
        ),
        severity=Severity.NOTICE,
        steps=(
            "If you know of the change, there is nothing to do; CAA and TLSA records may have to follow it.",
            "If you do not, find out who got the certificate: `https://crt.sh` lists them.",
        ),
        section="RFC 8461 section 10.1",
        attack=(
            "Who takes over a name gets a certificate for it, often from another authority. Look at where the name "
            "leads, and at the certificate's key."
        ),
    ),
    Explanation(
        code=Code.TLSA_NEXT_RENEWAL,
        title="The next renewal will break DANE",
        clause="the TLSA records of MX_HOST are not ready for its next certificate",
        meaning=(
            "No TLSA record of MX_HOST will fit the next certificate, if it is renewed as before: the record holds the "
            "whole certificate, or a key that changes. Senders that use DANE then do not deliver."
        ),
        severity=Severity.WARNING,
        steps=(
            "Keep the key when renewing (certbot: `certbot renew --reuse-key`) and publish `3 1 1`.",
            (
                "Or make the next key now, publish its record beside the present one, wait two TTLs, and only then "
                "install it."
            ),
            SEE_KEY,
        ),
        section="RFC 7671 section 8.1; RFC 7672 section 3.1.1",
    ),
)
