"""The columns of a survey: names that stay, in an order that stays; docs/survey.md is written from this.

A new column goes to the end. A journal is read by position: `FORMAT` changes when a column changes.
"""

from dataclasses import dataclass
from enum import StrEnum

FORMAT = 1


class Type(StrEnum):
    TEXT = "text"
    INT = "int"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: Type
    meaning: str
    is_stranger: bool = False
    """Whether strangers chose the text: in CSV it must not become a formula."""


_T, _I, _B = Type.TEXT, Type.INT, Type.BOOL

COLUMNS: tuple[Column, ...] = (
    Column("line", _I, "line of the list"),
    Column("rank", _I, "rank as the list has it"),
    Column("domain", _T, "A-labels, lower case", is_stranger=True),
    Column("at", _T, "when looking began, ISO 8601, UTC"),
    Column("took_ms", _I, "milliseconds that looking took"),
    Column("status", _T, "`ok`, or `error`: nothing is known of the domain but `error`"),
    Column("error", _T, "what went wrong here, one sentence", is_stranger=True),
    Column("dnssec_validated", _B, "whether the resolver validates; without it nothing is said about DANE"),
    Column("mx_status", _T, "`found`, `nodata`, `nxdomain`, `failed`"),
    Column("mx_reason", _T, "why it failed", is_stranger=True),
    Column("mx", _T, "the MX records, `10 mx.example.org`, with `; ` between them", is_stranger=True),
    Column("mx_cnames", _T, "names that CNAMEs led to, with blanks between them", is_stranger=True),
    Column("mx_null", _B, "the one record `0 .`: no mail (RFC 7505)"),
    Column("mx_secure", _B, "DNSSEC proved the answer"),
    Column("mx_skipped", _I, "MX hosts beyond the limit, not looked at"),
    Column("providers", _T, "registered domains of the MX hosts, with blanks between them", is_stranger=True),
    Column("hosts", _T, "JSON: each MX host's `name`, and its lookups `a`, `aaaa`, `tlsa`", is_stranger=True),
    Column("sts_status", _T, "of TXT `_mta-sts.<domain>`, as `mx_status`"),
    Column("sts_reason", _T, "why it failed", is_stranger=True),
    Column("sts_records", _T, "JSON: the TXT records as they came, a character a byte", is_stranger=True),
    Column("sts_cnames", _T, "as `mx_cnames`", is_stranger=True),
    Column("sts_secure", _B, "as `mx_secure`"),
    Column("sts_id", _T, "the id, where senders can use the record", is_stranger=True),
    Column(
        "policy_status",
        _T,
        "`ok` served as it should be; `not-asked` no record, `no-address`, or a slug: why not",
    ),
    Column("policy_message", _T, "what exactly went wrong", is_stranger=True),
    Column("policy_http_status", _I, "of HTTP, where it is not 200"),
    Column("policy_address", _T, "the address that answered or failed last", is_stranger=True),
    Column("policy_lookups", _T, "JSON: the policy host's lookups `a`, `aaaa`", is_stranger=True),
    Column("policy_text", _T, "the body, a character a byte; at most 4,096 of them", is_stranger=True),
    Column("policy_bytes", _I, "size of the whole body"),
    Column("policy_mode", _T, "`enforce`, `testing`, `none`, where record and policy are usable"),
    Column("policy_max_age", _I, "seconds"),
    Column("policy_mx", _T, "its `mx` patterns, with blanks between them", is_stranger=True),
    Column("tlsrpt_status", _T, "of TXT `_smtp._tls.<domain>`, as `mx_status`"),
    Column("tlsrpt_reason", _T, "why it failed", is_stranger=True),
    Column("tlsrpt_records", _T, "as `sts_records`", is_stranger=True),
    Column("tlsrpt_cnames", _T, "as `mx_cnames`", is_stranger=True),
    Column(
        "tlsrpt_rua",
        _T,
        "where reports go, with blanks between them, where the record is usable",
        is_stranger=True,
    ),
    Column("tlsrpt_targets", _T, "JSON: `uri`, `host`, `takes_reports`, `reason`", is_stranger=True),
    Column(
        "dane",
        _T,
        "MX hosts with usable, proved TLSA records: `all`, `some`, `none`, `unusable`, `failed`, "
        "`not-validated`",
    ),
    Column(
        "starttls", _T, "MX hosts that do TLS: `all`, `some`, `none`, `not-observed`; empty without `--smtp`"
    ),
    Column(
        "sessions",
        _T,
        "JSON: what each address of each MX host showed; empty without `--smtp`",
        is_stranger=True,
    ),
    Column("codes", _T, "findings as in check-codes.md, the worst first, with blanks between them"),
    Column("worst", _T, "the worst severity: `critical`, `warning`, `notice`"),
    Column("classes", _T, "error classes, with blanks between them"),
    Column(
        "verdict_mta_sts",
        _T,
        "what such senders do: `delivers`, `partly`, `refuses`, `unprotected`, `no-mail`, `unknown`",
    ),
    Column("verdict_postfix", _T, "the same of Postfix with a plugin"),
    Column("verdict_dane", _T, "the same of senders that use DANE"),
    Column("verdict_opportunistic", _T, "the same of all others"),
)
AT = {column.name: index for index, column in enumerate(COLUMNS)}

Value = str | int | bool | None
Row = tuple[Value, ...]
"""In the order of COLUMNS."""
