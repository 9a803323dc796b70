"""What known senders make of a policy that the grammar does not allow: seen or read in their source in 2026.

Versions: checkdmarc 6.0, postfix-mta-sts-resolver 1.5, mailauth 4.13; mox, postfix-tlspol, go-mtasts, Stalwart and
KumoMTA as their repositories were.
"""

from collections.abc import Mapping

KNOWN_READERS: Mapping[str, str] = {
    "blank-line": (
        "postfix-mta-sts-resolver and checkdmarc read on after a blank line; mox and "
        "postfix-tlspol refuse the policy."
    ),
    "duplicate": (
        "postfix-mta-sts-resolver, mailauth and go-mtasts let the last one count, KumoMTA refuses the policy."
    ),
    "max-age-high": (
        "postfix-tlspol cuts it to a year, mox and go-mtasts take it as it is, postfix-mta-sts-resolver and checkdmarc "
        "refuse the policy."
    ),
    "max-age-syntax": "postfix-mta-sts-resolver also takes underscores and the digits of other scripts.",
    "max-age-missing": "Stalwart takes a day instead.",
    "mode-missing": "Stalwart goes on without it, mailauth takes it for none.",
    "version-missing": "Stalwart goes on without it.",
    "mx-syntax": "postfix-mta-sts-resolver takes any text for a pattern.",
    "mx-too-short": "mailauth, and Postfix before 3.10.5, let the wildcard stand for any depth.",
}
"""By the code of core.mtasts.problem."""
