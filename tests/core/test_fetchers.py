import pytest

from mailward.core.fetchers import (
    FETCHERS,
    fetcher_by_reverse_name,
    find_fetcher,
    read_user_agent,
    sends_mail,
)

AGENTS = [
    ("Google-SMTP-STS", ("google", "google-smtp-sts")),
    ("curl/8.5.0", ("curl", "curl")),
    ("Mailward (https://example.test/us)", ("mailward", "mailward")),
    ("Something/1.0 curl/8", ("", "something")),
    ("", ("", "")),
    ("<script>", ("", "")),
    ("x" * 500, ("", "x" * 60)),
]


@pytest.mark.parametrize("text, expected", AGENTS)
def test_the_first_product_names_a_client(text: str, expected: tuple[str, str]) -> None:
    assert read_user_agent(text) == expected


NAMES = [
    ("mail-wr1-f41.google.com.", "google"),
    ("Google.COM", "google"),
    ("notgoogle.com", ""),
    ("google.com.evil.test", ""),
    ("", ""),
]


@pytest.mark.parametrize("name, slug", NAMES)
def test_a_reverse_name_counts_by_whole_labels(name: str, slug: str) -> None:
    assert fetcher_by_reverse_name(name) == slug


def test_slugs_products_and_domains_are_there_once_and_fit_their_columns() -> None:
    slugs = [fetcher.slug for fetcher in FETCHERS]
    assert len(set(slugs)) == len(slugs)
    assert max(map(len, slugs)) <= 40
    for values in ([p for f in FETCHERS for p in f.products], [d for f in FETCHERS for d in f.reverse]):
        assert len(set(values)) == len(values)
        assert all(value == value.lower() for value in values)


def test_our_own_checks_are_no_evidence_of_mail() -> None:
    assert not sends_mail("mailward")
    assert sends_mail("google")
    assert sends_mail("")
    assert find_fetcher("nobody") is None
