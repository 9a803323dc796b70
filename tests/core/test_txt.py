"""Fields between delimiters, whatever a stranger's TXT record holds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.mtasts import record as sts
from mailward.core.tlsrpt import record as tlsrpt
from mailward.core.txt import MAX_TXT_BYTES, RecordError, split_between


@given(st.text("a; \t\n", max_size=30))
def test_white_space_belongs_to_the_delimiter_as_in_the_grammar(text: str) -> None:
    assert split_between(text, ";") == re.split(r"[ \t]*;[ \t]*", text)


@pytest.mark.parametrize("parse", [sts.parse_record, tlsrpt.parse_record])
@pytest.mark.parametrize("blanks", [b" ", b"\t "])
def test_a_record_of_blanks_costs_what_others_do(parse: object, blanks: bytes) -> None:
    """A hundred of them took minutes, and the test its time-out."""
    assert callable(parse)
    start = b"v=STSv1; id=1" if parse is sts.parse_record else b"v=TLSRPTv1; rua=mailto:a@b.test"
    record = (start + blanks * MAX_TXT_BYTES)[: MAX_TXT_BYTES - 1] + b"x"
    for _ in range(100):
        with pytest.raises(RecordError):
            parse([record])
