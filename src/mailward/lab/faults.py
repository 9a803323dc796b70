"""What stops the lab."""


class LabFault(Exception):
    """One sentence, or what the program that failed has said."""
