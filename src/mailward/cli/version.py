"""mailward version"""

import sys

import mailward


def app(_arguments: list[str], **_options: object) -> int:
    """No typer: `mailward --version` is asked by scripts, often."""
    sys.stdout.write(f"mailward {mailward.__version__}\n")
    return 0
