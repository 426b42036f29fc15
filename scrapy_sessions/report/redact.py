"""What a report may show of what a crawl has met: URLs without what may be secret in them."""

from __future__ import annotations

import re

from scrapy_sessions.analytics.redaction import safe_url, without_secrets

__all__ = ["action", "place", "printable", "reason", "shortened", "url"]

_LONGEST = 200  # characters of one URL or reason: a report stays small whatever a site sends
_MORE = "?…"  # stands for a query
_ACTION = re.compile(r"[A-Z]+ (\S+) (\d{3})")


def printable(text: str) -> str:
    """Return *text* with a replacement character for each character that is not printable.

    Such characters can change the direction of the text after them, and a lone surrogate cannot be written to a file.
    The command line has a function of its own, which writes them as escapes, as its reader may have to type them.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return *text* with its middle left out, if it is longer than *longest* characters."""
    text = printable(text)
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def url(text: str) -> str:
    """Return the URL *text* without user, password, query, fragment and path parameters.

    >>> url("https://bob:pw@shop.example/cart;jsessionid=1?token=2#3")
    'https://shop.example/cart?…'
    """
    return shortened(safe_url(text, names=False))


def place(text: str) -> str:
    """Return the URL *text* as :func:`url` does, without telling whether there was a query: one for all queries."""
    return url(text).removesuffix(_MORE)


def reason(text: str) -> str:
    """Return *text*, a reason given in words, with every URL and query in it cleaned."""
    return shortened(without_secrets(text, names=False))


def action(text: str) -> tuple[str, int] | None:
    """Return the place and status of one entry of a session's history; ``None`` for what the spider itself recorded."""
    found = _ACTION.fullmatch(text)
    return (place(found[1]), int(found[2])) if found else None
