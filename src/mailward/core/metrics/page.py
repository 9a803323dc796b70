"""Families as the page that Prometheus reads: text format 0.0.4."""

import re
from collections.abc import Iterable, Iterator

from mailward.core.metrics.family import Family, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED = re.compile(r'[\\"\n]')


def render_page(families: Iterable[Family]) -> bytes:
    """Each family once, whoever has samples of it: a page that has one twice is not read at all."""
    joined: dict[str, tuple[Family, list[Sample]]] = {}
    for family in families:
        joined.setdefault(family.name, (family, []))[1].extend(family.samples)
    return "".join(line for family, samples in joined.values() for line in _lines(family, samples)).encode()


def _lines(family: Family, samples: list[Sample]) -> Iterator[str]:
    name = family.name
    yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
    for sample in samples:
        shown = ",".join(f'{key}="{_ESCAPED.sub(_escape, text)}"' for key, text in sample.labels.items())
        yield (
            f"{name}{sample.suffix}{{{shown}}} {sample.value:.15g}\n"
            if shown
            else (f"{name}{sample.suffix} {sample.value:.15g}\n")
        )


def _escape(found: re.Match[str]) -> str:
    return {"\\": r"\\", '"': r"\"", "\n": r"\n"}[found[0]]
