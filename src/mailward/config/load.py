"""From file and environment to `Settings`."""

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from mailward.config.settings import Settings

_FIRST_WORD = re.compile(r"^\w*")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$\.(\w+)`)?")
_OURS = frozenset({"MAILWARD_METRICS_SOCKET"})
"""What the supervisor tells its processes."""
_KEY = re.compile(r"`\$((?:\.\w+)+)")


class SettingsError(ValueError):
    """The settings cannot be used; the text names the file or variable, the key and the reason."""


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: str
) -> Settings:
    """Settings from `path` (optional), then the environment, then `overrides` of top-level keys.

    Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}  # TOML is untyped until msgspec has seen it
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from error
    _apply_environment(values, environ)
    _split_addresses(values)
    values |= overrides
    try:
        # strict=False: the environment knows only text
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        origin = _origin(str(error), path, environ)
        raise SettingsError(f"{origin}: {_say_unknown(str(error)) or error}{_choices(str(error))}") from error


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those named as keys of a table are that stand for none, and do nothing; with the one that was meant, maybe, or
    an empty text.
    """
    tables, known = set[str](), set[str]()
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            begin = f"MAILWARD_{field.name}_".upper()
            tables.add(begin)
            for key in msgspec.structs.fields(field.type):
                known |= {f"{begin}{key.name.upper()}{end}" for end in ("", "_FILE")}
    unknown = sorted(name for name in environ if name.startswith(tuple(tables)) and name not in known)
    return {name: "".join(get_close_matches(name, known, n=1)) for name in unknown if name not in _OURS}


def _origin(text: str, path: Path | None, environ: Mapping[str, str]) -> str:
    """Where the value comes from that msgspec complains of."""
    if found := _KEY.search(text):
        name = f"MAILWARD{found[1]}".replace(".", "_").upper()
        # of a whole table the complaint is ours, and begins with the key
        of_table = f"{name}_{_FIRST_WORD.findall(text)[0].upper()}"
        for variable in (name, of_table):
            for source in (variable, f"{variable}_FILE"):
                if source in environ:
                    return source
    return str(path or "settings")


def _say_unknown(text: str) -> str:
    """Of a key or table that there is none of, and what it may have been meant for; else empty."""
    if (found := _UNKNOWN.fullmatch(text)) is None:
        return ""
    name, table = found[1], found[2]
    if table:
        known = get_type_hints(get_type_hints(Settings)[table]) if table in get_type_hints(Settings) else {}
        said = f"[{table}] has no key '{name}'"
    else:
        known, said = get_type_hints(Settings), f"there is no table or key '{name}'"
    near = get_close_matches(name, known, n=1)
    return f"{said}; is it '{near[0]}'?" if near else said


def _choices(text: str) -> str:
    """What would do instead, where only a few words do."""
    if not text.startswith("Invalid enum value") or not (found := _KEY.search(text)):
        return ""
    table, _, key = found[1].removeprefix(".").partition(".")
    kind = get_type_hints(get_type_hints(Settings)[table])[key]
    return f" (one of {', '.join(each or 'nothing' for each in get_args(kind))})"


def _apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            hints = get_type_hints(field.type)
            for key in msgspec.structs.fields(field.type):
                text = _from_environment(environ, f"MAILWARD_{field.name}_{key.name}".upper())
                if text is not None:
                    is_list = getattr(hints[key.name], "__origin__", None) is tuple
                    table = values.setdefault(field.name, {})
                    if not isinstance(table, dict):
                        raise SettingsError(f"settings: {field.name} is a table of keys, not a value")
                    table[key.name] = text.split() if is_list else text
        else:
            text = _from_environment(environ, f"MAILWARD_{field.name}".upper())
            if text is not None:
                values[field.name] = text


def _split_addresses(values: dict[str, Any]) -> None:
    """Addresses to listen on may be one text: most installations have one, and once there was but one."""
    for field in msgspec.structs.fields(Settings):
        table = values.get(field.name)
        if not isinstance(table, dict):
            continue
        hints = get_type_hints(field.type)
        for key, value in table.items():
            is_listen = key.endswith("listen") and getattr(hints.get(key), "__origin__", None) is tuple
            if is_listen and isinstance(value, str):
                table[key] = value.split()


def _from_environment(environ: Mapping[str, str], name: str) -> str | None:
    if name in environ:
        return environ[name]
    if file := environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise SettingsError(f"{name}_FILE: {file}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE: {error}") from error
    return None
