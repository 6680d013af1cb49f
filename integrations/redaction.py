"""Addresses for logs: signatures and passwords are removed."""

from __future__ import annotations

import re

QUERY = re.compile(r"\?[^\s'\"<>)]+")
USER = re.compile(r"//[^\s/@'\"]+@")


def redacted(text: str) -> str:
    """Return a text whose addresses have neither queries nor users.

    >>> redacted("https://ann:secret@images.example/7.jpg?signature=b0a1 cannot be read")
    'https://...@images.example/7.jpg?... cannot be read'
    """
    return QUERY.sub("?...", USER.sub("//...@", text))
