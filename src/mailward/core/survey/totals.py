"""What rows add up to: the numbers of the summary. Added row by row, so that no survey is too large."""

from collections import Counter
from collections.abc import Sequence

from mailward.core.survey.classes import MTA_STS
from mailward.core.survey.columns import AT, Row, Value
from mailward.core.survey.parts import OWN, Shared, join_row, split_row

MAX_PROVIDERS = 50_000
_STS_FAULTS = frozenset(MTA_STS)
_DAYS = (
    (1, "less than a day"),
    (7, "less than a week"),
    (28, "less than four weeks"),
    (180, "less than half a year"),
)
_LONGEST = "half a year and more"
AGES = (*(words for _, words in _DAYS), _LONGEST)
_VERDICTS = ("verdict_mta_sts", "verdict_postfix", "verdict_dane", "verdict_opportunistic")

_AT_STATUS, _AT_MX_STATUS, _AT_NULL, _AT_PROVIDERS = (
    AT[name] for name in ("status", "mx_status", "mx_null", "providers")
)
_AT_RECORDS, _AT_ID, _AT_POLICY, _AT_MODE, _AT_MAX_AGE = (
    AT[name] for name in ("sts_records", "sts_id", "policy_status", "policy_mode", "policy_max_age")
)
_AT_RUA, _AT_DANE, _AT_STARTTLS, _AT_CODES, _AT_CLASSES, _AT_VALIDATED = (
    AT[name] for name in ("tlsrpt_rua", "dane", "starttls", "codes", "classes", "dnssec_validated")
)
_AT_VERDICTS = tuple(AT[name] for name in _VERDICTS)
_NOTHING = (None,) * len(OWN)


class Totals:
    def __init__(self) -> None:
        self.domains = 0
        self.errors = 0
        """Rows that say nothing but what went wrong here."""
        self.null_mx = 0
        self.lookup_failed = 0
        """The MX lookup."""
        self.nowhere = 0
        """No MX record and no address."""
        self.mail = 0
        """Domains that take mail, as far as DNS says: what shares are of."""
        self.explicit_mx = 0
        self.sts_meant = 0
        """Domains that mean to have a policy: with a record, however bad."""
        self.sts_usable = 0
        """Of them, those with record and policy that senders can use."""
        self.sts_faulty = 0
        """Of them, those with at least one fault of the classes of MTA-STS."""
        self.sts_refusing = 0
        """Of them, those whose policy is enforced while an MX host is not in it or fails it: senders do not
        deliver to that host.
        """
        self.tlsrpt = 0
        self.validated = 0
        """Of the domains that take mail, those that a validating resolver was asked about."""
        self.smtp = 0
        self.modes: Counter[str] = Counter()
        self.ages: Counter[str] = Counter()
        self.fetches: Counter[str] = Counter()
        """What came of fetching policies."""
        self.dane: Counter[str] = Counter()
        self.starttls: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.verdicts: dict[str, Counter[str]] = {name: Counter() for name in _VERDICTS}
        self.providers: Counter[str] = Counter()
        """Domains that have an MX host there."""

    def add(self, row: Row) -> None:
        self.add_alike(split_row(row).shared, [row[_AT_PROVIDERS]])

    def add_alike(self, shared: Shared, providers: Sequence[Value]) -> None:
        """Rows that share all of that part: the cell `providers` of each."""
        row, times = join_row(_NOTHING, shared), len(providers)
        self.domains += times
        if row[_AT_STATUS] != "ok":
            self.errors += times
            return
        classes = str(row[_AT_CLASSES] or "").split()
        codes = str(row[_AT_CODES] or "").split()
        for each in classes:
            self.classes[each] += times
        for each in codes:
            self.codes[each] += times
        if row[_AT_NULL]:
            self.null_mx += times
        elif row[_AT_MX_STATUS] == "failed":
            self.lookup_failed += times
        elif row[_AT_VERDICTS[-1]] == "no-mail":
            self.nowhere += times
        else:
            self.mail += times
            self._add_mail(row, times)
            self._add_providers(providers)
        for name, at in zip(_VERDICTS, _AT_VERDICTS, strict=True):
            self.verdicts[name][str(row[at])] += times
        if row[_AT_RECORDS] is not None and row[_AT_POLICY] != "not-asked":
            self._add_policy(row, times, classes, codes)

    def _add_mail(self, row: Row, times: int) -> None:
        self.explicit_mx += times * (row[_AT_MX_STATUS] == "found")
        self.tlsrpt += times * (row[_AT_RUA] is not None)
        if row[_AT_VALIDATED]:
            self.validated += times
            self.dane[str(row[_AT_DANE])] += times
        if row[_AT_STARTTLS] is not None:
            self.smtp += times
            self.starttls[str(row[_AT_STARTTLS])] += times

    def _add_providers(self, providers: Sequence[Value]) -> None:
        for text, times in Counter(providers).items():
            for provider in str(text or "").split():
                self.providers[provider] += times
        if len(self.providers) > MAX_PROVIDERS:  # lossy counting: who had one domain so far begins anew
            self.providers = Counter({name: count for name, count in self.providers.items() if count > 1})

    def _add_policy(self, row: Row, times: int, classes: list[str], codes: list[str]) -> None:
        self.sts_meant += times
        self.fetches[str(row[_AT_POLICY])] += times
        self.sts_faulty += times * (not _STS_FAULTS.isdisjoint(classes))
        mode = row[_AT_MODE]
        if mode is None:
            return
        self.sts_usable += times
        self.modes[str(mode)] += times
        seconds = int(row[_AT_MAX_AGE] or 0)
        self.ages[next((words for days, words in _DAYS if seconds < days * 86_400), _LONGEST)] += times
        if mode == "enforce":
            fails = row[_AT_VERDICTS[0]] in ("partly", "refuses")
            self.sts_refusing += times * (fails or "mx-not-in-policy" in codes)
