"""Removes what may be secret from URLs and texts for a report."""

from __future__ import annotations

import re

from scrapy_sessions.analytics.redaction import safe_url, without_secrets

_LONGEST = 200  # characters of one URL or reason, which bounds the size of a report
_ACTION = re.compile(r"[A-Z]+ (\S+) (\d{3})")


def printable(text: str) -> str:
    """Return *text* with a replacement character for each character that is not printable.

    Such characters can change the direction of the text after them, and a lone surrogate cannot be written to a file.
    The command line prints escapes instead, because its users may have to type them.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return *text*, without its middle if it is longer than *longest* characters."""
    text = printable(text)
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def url_without_query(url: str) -> str:
    """Return *url* without user, password, path parameters, query and fragment.

    >>> url_without_query("https://bob:pw@shop.example/cart;jsessionid=1?token=2#3")
    'https://shop.example/cart'
    """
    return shortened(safe_url(url, names=False)).removesuffix("?…")


def reason(text: str) -> str:
    """Return *text* with every URL and query in it redacted."""
    return shortened(without_secrets(text, names=False))


def action(text: str) -> tuple[str, int] | None:
    """Return URL and status of a request in a session's history; ``None`` for what the spider itself recorded."""
    found = _ACTION.fullmatch(text)
    return (url_without_query(found[1]), int(found[2])) if found else None
