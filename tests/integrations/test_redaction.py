"""Addresses are logged without what may be secret in them."""

from __future__ import annotations

import pytest

from integrations.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://store/7.jpg?X-Sig=b0a1&x=1 cannot be read", "https://store/7.jpg?... cannot be read"),
        ("ReadTimeout('http://ann:secret@store/7.jpg')", "ReadTimeout('http://...@store/7.jpg')"),
        ("for url 'http://store/a?token=1' and <s3://b/c?d>", "for url 'http://store/a?...' and <s3://b/c?...>"),
        ("photos/7.jpg is not there. Is it?", "photos/7.jpg is not there. Is it?"),
        ("mail ann@store.example", "mail ann@store.example"),
    ],
)
def test_addresses_are_told_without_queries_and_users(text: str, shown: str) -> None:
    assert redacted(text) == shown
