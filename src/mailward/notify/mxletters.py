"""What people are told when a policy is about to follow the MX records."""

from datetime import datetime

from mailward.notify.mails import wrapped


def announced(
    domain: str,
    kind: str,
    subject: str,
    patterns: tuple[str, ...],
    why: str,
    due_at: datetime,
    trusted_until: datetime,
    link: str,
) -> tuple[str, list[str]]:
    """Subject and lines. `subject`: the MX host, or the pattern that covers none. `trusted_until`: how long senders may
    hold the policy that is in force up to `due_at`.
    """
    listed = ", ".join(patterns)
    when = f"{due_at:%d %B %Y, %H:%M} UTC"
    if kind == "appeared":
        title = f"{domain}: {subject} is to join the MTA-STS policy"
        lines = [
            *wrapped(
                f"The DNS of {domain} has a new MX host, {subject}, which its policy does not cover. Senders that "
                "enforce the policy do not deliver there: they try the others, and return the mail when none takes it."
            ),
            "",
            *wrapped(f"On {when} the policy gains: {listed}. {why}"),
            "",
            *wrapped(
                "If nobody of yours made that change, somebody forges your DNS or has got into it: then object, and "
                "look at the MX records at your DNS provider."
            ),
        ]
    else:
        title = f"{domain}: {subject} is to leave the MTA-STS policy"
        lines = [
            *wrapped(f"No MX host of {domain} is covered by {subject} any more. {why}"),
            "",
            *wrapped(
                f"On {when} the policy loses: {listed}. Senders that hold an older copy trust it for longer, until "
                f"{trusted_until:%d %B %Y, %H:%M} UTC: do not give the name up before that, or whoever gets hold of it "
                "can take mail."
            ),
        ]
    return title, [*lines, "", "To object, so that the policy stays as it is:", link]


def never_came(domain: str, subject: str) -> tuple[str, list[str]]:
    title = f"{domain}: the planned MX host {subject} has not come"
    lines = [
        *wrapped(
            f"{subject} was to be an MX host of {domain}, and is not one long after its date: the plan has ended."
        ),
        "",
        *wrapped(
            "The policy still covers it. Take it out if it will not come: a host name that somebody else gets hold of "
            "must not stay trusted. Where the policy follows the MX records, that is announced and done by itself."
        ),
    ]
    return title, lines
