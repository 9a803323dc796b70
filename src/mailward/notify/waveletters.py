"""What people are told when a change of many domains stops by itself."""

from mailward.notify.mails import wrapped


def stopped(profile: str, wave: int, reason: str) -> tuple[str, list[str]]:
    """Subject and lines."""
    name = " ".join(profile.split())
    lines = [
        *wrapped(f"The change of the profile {name} was stopped in wave {wave}. {reason}"),
        "",
        *wrapped(
            "No further domain gets it. Those that have it keep it until somebody undoes it. Look at what was seen, "
            "then go on or undo it."
        ),
    ]
    return f"The change of {name} was stopped", lines
