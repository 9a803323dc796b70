"""The way from `testing` to `enforce` (RFC 8461 section 5), walked on evidence.

    verdict = judge(evidence, Conditions())
    verdict.state, verdict.reasons

The threat: whoever can keep a domain from enforcing, or push it there too early, by what they report. A signature says
who sent a report and not that it is true, so that reports can hold a promotion up and never weaken a policy. Sessions
are counted for each policy type alone: `sts` and `tlsa` may describe the same ones, and are never summed. No
data is not no failure. Prose is in core.explain.rollout, the conditions are published in docs/rollout.md.
"""
