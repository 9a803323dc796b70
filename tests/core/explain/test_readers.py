"""What is told of known senders belongs to faults that the reader of policies really finds."""

import pytest
from tests.core.check.made import POLICY, facts, serving

from mailward.core.check.run import run
from mailward.core.explain.readers import KNOWN_READERS
from mailward.core.mtasts.policy import lint_policy

BODIES = {
    "blank-line": POLICY.replace(b"mode", b"\nmode"),
    "duplicate": POLICY + b"mode: none\n",
    "max-age-high": POLICY.replace(b"2419200", b"99999999"),
    "max-age-syntax": POLICY.replace(b"2419200", b"86_400"),
    "max-age-missing": POLICY.replace(b"max_age: 2419200\n", b""),
    "mode-missing": POLICY.replace(b"mode: enforce\n", b""),
    "version-missing": POLICY.replace(b"version: STSv1\n", b""),
    "mx-syntax": POLICY.replace(b"mx.example", b"mx_example"),
    "mx-too-short": POLICY + b"mx: *.outlook.com\n",
}


@pytest.mark.parametrize("code", KNOWN_READERS)
def test_each_note_belongs_to_a_fault(code: str) -> None:
    _, problems = lint_policy(BODIES[code])
    assert code in {problem.code for problem in problems}
    notes = {note for finding in run(facts(**serving(BODIES[code]))).findings for note in finding.notes}
    assert notes == {KNOWN_READERS[code]}
