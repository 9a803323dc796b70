"""What people are told when they leave MTA-STS."""

from mailward.notify.mails import wrapped


def records_may_go(domain: str, *, is_kept_up: bool = False) -> tuple[str, list[str]]:
    """Subject and lines. `is_kept_up`: we write the domain's records at its own DNS server."""
    by_us = [*wrapped("What Mailward wrote at your DNS server it removes by itself; the rest is yours."), ""]
    lines = [
        *wrapped(
            f"Every MTA-STS policy that was ever served for {domain} has ended: no sender holds one that enforces."
        ),
        "",
        "Now remove these records, in this order:",
        f"  1. _mta-sts.{domain}",
        f"  2. mta-sts.{domain}",
        "",
        *(by_us if is_kept_up else ()),
        *wrapped(
            "Until they are gone Mailward goes on serving mode none. When no server of your zone has them any more, it "
            "stops by itself."
        ),
    ]
    return f"{domain}: the MTA-STS records may go", lines
