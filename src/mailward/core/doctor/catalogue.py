"""Every code that `mailward doctor` knows: its grade, and what it means. docs/doctor.md is written from here."""

from collections.abc import Mapping

from mailward.core.doctor.finding import Finding
from mailward.core.doctor.inside import INSIDE
from mailward.core.doctor.outside import OUTSIDE
from mailward.core.doctor.topic import Meaning, Topic

TOPICS: Mapping[str, Topic] = {topic.name: topic for topic in (*INSIDE, *OUTSIDE)}
"""In the order in which they are told."""
MEANINGS: Mapping[str, Meaning] = {
    meaning.code: meaning for topic in TOPICS.values() for meaning in topic.meanings
}


def tell(code: str, text: str, fix: str = "") -> Finding:
    """A finding with the grade that the catalogue gives its code. Raises KeyError for a code that it does not have."""
    return Finding(MEANINGS[code].grade, code, text, fix)
