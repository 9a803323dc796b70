"""The registered domain of a host: what somebody registered under a public suffix (publicsuffix.org).

Debian keeps the list in `/usr/share/publicsuffix`. Without it the last two labels are taken, or three under
second levels such as `co.uk`: good enough for most providers, and the summary says which of both it was.
"""

from collections.abc import Iterable

_SECOND_LEVELS = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gov", "ltd", "ne", "net", "or", "org", "plc"}
)
_COUNTRY_CODE = 2


class Suffixes:
    def __init__(self, lines: Iterable[str] = ()) -> None:
        """`lines` of public_suffix_list.dat; its private part (names such as github.io) is left out: a mail provider is
        who registered the name.
        """
        self._rules: set[str] = set()
        self._exceptions: set[str] = set()
        self._unread: list[str] = []
        """Rules that are not ASCII: to make A-labels of them takes longer than all the rest, and few hosts need any."""
        for line in lines:
            rule = line.strip()
            if "BEGIN PRIVATE DOMAINS" in rule:
                break
            if not rule or rule.startswith("//"):
                continue
            name = rule.split()[0]
            if name.isascii():
                self._add(name.lower())
            else:
                self._unread.append(name)

    def _add(self, name: str) -> None:
        if name.startswith("!"):
            self._exceptions.add(name[1:])
        else:
            self._rules.add(name)

    @property
    def is_complete(self) -> bool:
        return bool(self._rules or self._unread)

    def registered_domain(self, host: str) -> str:
        """The host itself where nothing is registered: a public suffix, an address."""
        labels = host.split(".")
        if len(labels) < 2 or labels[-1].isdigit():
            return host
        if self._unread and "xn--" in host:
            unread, self._unread = self._unread, []
            for name in unread:
                self._add(_to_ascii(name))
        count = self._suffix_labels(labels) if self.is_complete else _guess_suffix_labels(labels)
        return ".".join(labels[-(count + 1) :])

    def _suffix_labels(self, labels: list[str]) -> int:
        """How many labels the public suffix has: that of the longest rule; one where no rule matches."""
        for at in range(len(labels)):
            name = ".".join(labels[at:])
            if name in self._exceptions:
                return len(labels) - at - 1
            if name in self._rules or f"*.{'.'.join(labels[at + 1 :])}" in self._rules:
                return len(labels) - at
        return 1


def _guess_suffix_labels(labels: list[str]) -> int:
    is_second_level = len(labels[-1]) == _COUNTRY_CODE and labels[-2] in _SECOND_LEVELS
    return 2 if is_second_level else 1


def _to_ascii(rule: str) -> str:
    parts = [
        part if part.isascii() else part.encode("idna").decode("ascii") for part in rule.lower().split(".")
    ]
    return ".".join(parts)
