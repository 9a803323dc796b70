"""R4: one content has one hash; another content has another."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fakes.reports import REPORTS

from mailward.core.tlsrpt.canonical import content_hash
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.schema import Report
from mailward.core.tlsrpt.write import serialise_report


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Turns every list and object around, which says nothing else."""

    random: Random

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, self(inner)) for key, inner in value.items()]
            self.random.shuffle(items)
            return dict(items)
        if isinstance(value, list):
            entries = [self(inner) for inner in value]
            self.random.shuffle(entries)
            return entries
        return value


@given(REPORTS, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]))
def test_r4_order_and_spacing_do_not_matter(report: Report, random: Random, indent: Any) -> None:
    turned = Shuffle(random)(json.loads(serialise_report(report)))
    again = read_bytes(json.dumps(turned, indent=indent).encode()).reports[0]
    assert content_hash(again) == content_hash(report)
    assert len(content_hash(report)) == 32


@given(REPORTS, REPORTS)
def test_r4_another_content_has_another_hash(one: Report, other: Report) -> None:
    def sets(report: Report) -> str:
        value = json.loads(serialise_report(report))
        for result in value["policies"]:
            for container, key in (
                (result["policy"], "policy-string"),
                (result["policy"], "mx-host"),
                (result, "failure-details"),
            ):
                if key in container:
                    container[key].sort(key=lambda each: json.dumps(each, sort_keys=True))
        value["policies"].sort(key=lambda each: json.dumps(each, sort_keys=True))
        return json.dumps(value, sort_keys=True)

    assert (content_hash(one) == content_hash(other)) == (sets(one) == sets(other))


@given(REPORTS)
def test_r4_the_same_entry_twice_is_not_the_same_as_once(report: Report) -> None:
    assume(report.policies)
    twice = msgspec.structs.replace(report, policies=report.policies + report.policies[:1])
    assert content_hash(twice) != content_hash(report)
