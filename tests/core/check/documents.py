"""Whether a document is of the published form, field by field: the types have them all, and no other."""

import json
from datetime import date, datetime
from typing import Any

import msgspec

from mailward.core.check.schema import Document


def assert_of_the_form(document: dict[str, Any]) -> None:
    """As JSON, since that is what is published."""
    published = json.loads(json.dumps(document))
    read = msgspec.convert(published, Document)
    again = msgspec.to_builtins(read, builtin_types=(datetime, date))
    assert _without_times(again) == published


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_times(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value.isoformat() if isinstance(value, date) else value
