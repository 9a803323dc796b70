"""What metrics call the CAs of the settings."""

import pytest

from mailward.core.acme.settings import Acme


@pytest.mark.parametrize(
    ("urls", "labels"),
    [
        (["https://ca.test/directory"], ["ca.test"]),
        (["https://CA.test:14000/dir", "https://other.test/dir"], ["ca.test", "other.test"]),
        (["https://ca.test/a", "https://ca.test/b"], ["ca.test/a", "ca.test/b"]),
        (["https://ca.test/dir", "https://ca.test:8443/dir"], ["ca.test/dir", "ca.test:8443/dir"]),
        (["https://me:secret@ca.test/a?k=secret", "https://ca.test/a"], ["ca.test/a", "ca.test/a#2"]),
        (["https://ca.test/a", "https://ca.test/a"], ["ca.test"]),
    ],
    ids=["one", "two hosts", "two paths", "two ports", "a secret", "the same"],
)
def test_each_has_a_label_of_its_own(urls: list[str], labels: list[str]) -> None:
    assert list(Acme(directories=tuple(urls)).labels.values()) == labels


def test_a_label_is_bounded_and_still_its_own() -> None:
    long = "https://ca.test/" + "a" * 5000
    labels = list(Acme(directories=(f"{long}1", f"{long}2")).labels.values())
    assert len(set(labels)) == 2
    assert all(len(each) <= 123 for each in labels)
