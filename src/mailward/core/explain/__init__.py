"""What each failure means and what to do: the only place with advice prose.

A TLS report (RFC 8460) names a failure by a result type and, if the sender is kind, a reason code in words of
its own. The same event reaches the owner as different types from different senders: a self-signed certificate
is `certificate-not-trusted` for one and `validation-failure` with `self-signed_certificate` for another.
Pages, terminal and mails say one thing for one event:

    explanation = explain_result("validation-failure", policy_type="sts", reason="self-signed_certificate")
    explanation.filled(mx="mx1.example.com", domain="example.com").steps

`results` has an entry for each result type; `causes` and `policyhost` have the finer ones, and `rules`
chooses among them; `policies` has the policy types; `catalogue` looks all of them up. Deliberately not here:
what was counted, and how it is shown.
"""
