"""One JSON object of a report: each value in the form that schema promises, or left out with a note."""

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

import msgspec

from mailward.core.tlsrpt.deviations import Notes, encodable, excerpt
from mailward.core.tlsrpt.json_text import BadNumber, Fields
from mailward.core.tlsrpt.schema import MAX_COUNT
from mailward.core.tlsrpt.spelling import keep_domain, read_address, read_domain

_TYPE_NAMES = {dict: "object", list: "list", str: "text", bool: "boolean"}
_DIGITS = re.compile(r"-?[0-9]+", re.ASCII)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class FieldReader:
    """Takes the fields of one object. A bad value costs that value only."""

    def __init__(self, fields: object, where: str, notes: Notes, known: Collection[str]) -> None:
        self._where = where
        self._notes = notes
        self._fields: dict[str, object] = {}
        if isinstance(fields, Fields):
            self._fields = fields
            for key in fields.doubled:
                self.note("duplicate-keys", excerpt(encodable(key)))
            for key in fields:
                if key not in known:
                    self.note("unknown-key", excerpt(encodable(key)), _show(fields[key]))
        elif fields is not None:
            notes.leave_out("wrong-type", where, _show(fields))

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def note(self, slug: str, key: str, value: str = "") -> None:
        self._notes.add(slug, self.path(key), value)

    def leave_out(self, slug: str, key: str, value: str = "") -> None:
        self._notes.leave_out(slug, self.path(key), value)

    def leave_out_type(self, key: str) -> None:
        self.leave_out("wrong-type", key, _show(self._fields.get(key)))

    def is_object(self, value: object, key: str) -> bool:
        """Whether an entry of a list is an object, as it should be; otherwise noted."""
        if isinstance(value, Fields):
            return True
        self.note("wrong-type", key, _show(value))
        return False

    def raw(self, key: str) -> object:
        return self._fields.get(key)

    def text(self, key: str) -> str | None:
        """None for what is absent, null, empty or no text."""
        value = self._fields.get(key)
        if isinstance(value, str):
            return self._clean(value, self.path(key)) or None
        if value is not None:
            self.leave_out_type(key)
        return None

    def token(self, key: str, case_slug: str) -> str | None:
        """A value of a closed set: lower case."""
        text = self.text(key)
        if text is None:
            return None
        token = text.strip().lower()
        if token != text:
            self.note(case_slug, key, text)
        return token or None

    def domain(self, key: str) -> str | None:
        text = self.text(key)
        if text is None:
            return None
        convert = text.isascii() or self._notes.may_convert()
        domain, slug = read_domain(text) if convert else keep_domain(text)
        if slug:
            self.note(slug, key, text)
        return domain or None

    def address(self, key: str) -> str | None:
        value = self._fields.get(key)
        if value == "":
            self.leave_out("ip-empty", key)
            return None
        text = self.text(key)
        if text is None:
            return None
        address, slugs = read_address(text)
        for slug in slugs:
            (self.note if address else self.leave_out)(slug, key, text)
        return address

    def texts(self, key: str, split: Callable[[str], Iterable[str]], text_slug: str) -> tuple[str, ...]:
        """A list of texts; one text where the list should be is split."""
        value = self._fields.get(key)
        if isinstance(value, str):
            self.note(text_slug, key, value)
            value = [line for line in split(value) if line]
        elif value is not None and not isinstance(value, list):
            self.leave_out_type(key)
            return ()
        texts = []
        for at, each in enumerate(value or ()):
            if isinstance(each, str):
                texts.append(self._clean(each, f"{self.path(key)}[{at}]"))
            else:
                self.note("wrong-type", f"{key}[{at}]", _show(each))
        return tuple(texts)

    def count(self, key: str) -> int | None:
        value = self._fields.get(key)
        if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
            self.note("count-as-string", key, value)
            value = int(value) if len(value) < 20 else BadNumber("count-out-of-range", value)
        elif isinstance(value, float) and value.is_integer():
            self.note("count-as-float", key, _show(value))
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            slug = value.slug if isinstance(value, BadNumber) else "wrong-type"
        elif value < 0:
            slug = "count-negative"
        elif value > MAX_COUNT:
            slug = "count-out-of-range"
        else:
            return value
        self.leave_out(slug, key, _show(value))
        return None

    def time(self, key: str) -> datetime | None:
        value = self._fields.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._time_from_number(key, value)
        if isinstance(value, BadNumber):
            self.leave_out("date-invalid", key, value.text)
            return None
        text = self.text(key)
        if text is None:
            return None
        if _DIGITS.fullmatch(text) and len(text) < 20:
            return self._time_from_number(key, int(text))
        return self._time_from_text(key, text)

    def _time_from_number(self, key: str, seconds: float) -> datetime | None:
        try:
            time = datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            self.leave_out("date-invalid", key, str(seconds))
            return None
        self.note("date-as-number", key, str(seconds))
        return time

    def _time_from_text(self, key: str, text: str) -> datetime | None:
        try:
            time = msgspec.convert(text, datetime)
        except msgspec.ValidationError:
            try:
                time = datetime.fromisoformat(text.strip())
            except ValueError:
                self.leave_out("date-invalid", key, text)
                return None
            self.note("date-format", key, text)
        if time.tzinfo is None:
            self.note("date-without-timezone", key, text)
            return time.replace(tzinfo=UTC)
        if time.utcoffset():
            self.note("date-not-utc", key, text)
        try:
            return time.astimezone(UTC)
        except OverflowError:  # year 1 or 9999 and an offset
            self.leave_out("date-invalid", key, text)
            return None

    def _clean(self, text: str, where: str) -> str:
        clean = encodable(text)
        if clean != text:
            self._notes.add("lone-surrogate", where, clean)
        return clean


def split_lines(text: str) -> list[str]:
    return _LINE_ENDS.split(text)


def _show(value: object) -> str:
    """A short text for a value that is left out; containers are named, not walked."""
    if isinstance(value, BadNumber):
        return value.text
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _TYPE_NAMES.get(type(value), "object")
