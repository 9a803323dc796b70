"""What a command says when it cannot go on, and the person who typed it can mend it."""


class Problem(Exception):
    """One clear sentence. `mailward` prints it and exits with status 2."""
