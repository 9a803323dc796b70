"""Words that every rendering of a document shares."""

import re
from collections.abc import Iterator

from mailward.core.explain.catalogue import Severity
from mailward.core.tlsrpt.document import Document, Failure, State

_CODE = re.compile(r"`([^`]*)`")


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text of ours, and whether each stood between backticks."""
    for at, piece in enumerate(_CODE.split(text)):
        if piece:
            yield piece, at % 2 == 1


def name_state(document: Document) -> str:
    """The state in one word, for a badge."""
    if document.state is State.FAILED:
        return (document.severity or Severity.WARNING).value
    return {State.ENCRYPTED: "encrypted", State.UNKNOWN: "unknown", State.FOREIGN: "foreign"}[document.state]


def say_failed(failure: Failure) -> str:
    """How many sessions failed so, in words."""
    if failure.count is None:
        return "not said"
    return f"at least {failure.count:,}" if failure.incomplete else f"{failure.count:,}"
