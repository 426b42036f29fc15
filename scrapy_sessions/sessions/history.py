"""The actions of a session in a compact form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from pydantic_core import PydanticSerializationError, from_json, to_json

from scrapy_sessions.analytics.redaction import safe_url, without_secrets

_NEW = 64  # texts that are kept unencoded: encoding each one at once would copy all texts before it
# An encoded text and the comma after it. Compiled by `re` at first use: few crawls need it.
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*",'


class History:
    """The last *limit* actions of a session, oldest first (0: all of them).

    URLs in them keep the names of their query parameters, not the values, unless *query* is true: values may be tokens.

    They are kept as JSON in one bytes object, as they are saved: a third of the memory of as many strings, and saving
    them again costs nothing.
    """

    __slots__ = ("_count", "_encoded", "_limit", "_new", "_query", "_total")

    def __init__(self, texts: Iterable[str] = (), *, limit: int = 0, query: bool = False) -> None:
        self._limit = limit
        self._query = query
        self.restore(texts)

    def url(self, url: str) -> str:
        """Return *url* as it may be stored."""
        return url if self._query else safe_url(url)

    def text(self, text: str) -> str:
        """Return *text*, which may contain URLs, as it may be stored."""
        text = storable(text)
        return text if self._query else without_secrets(text)

    def add(self, text: str) -> None:
        """Add *text*, as the newest. Its URLs are those of :meth:`url`, or it is a :meth:`text`."""
        new = self._new
        new.append(text)
        if len(new) >= _NEW:
            self._fold()

    def restore(self, texts: Iterable[str]) -> None:
        """Replace the content by *texts*."""
        self._encoded = b""
        self._count = self._total = 0
        self._new = list(texts)
        self._fold()

    @property
    def total(self) -> int:
        """The number of texts ever added, including dropped ones."""
        return self._total + len(self._new)

    def encoded(self) -> bytes:
        """Return the texts as the inside of a JSON array. The object is the same until a text is added."""
        if self._new:
            self._fold()
        return self._encoded

    def texts(self) -> list[str]:
        """Return the texts."""
        texts: list[str] = from_json(b"[%b]" % self.encoded())
        return texts

    def __len__(self) -> int:
        if self._new:
            self._fold()
        return self._count

    def _fold(self) -> None:
        new, limit = self._new, self._limit
        self._new = []
        self._total += len(new)
        if limit:
            new = new[-limit:]
        kept = self._encoded
        surplus = self._count + len(new) - limit if limit else 0
        if surplus >= self._count:
            kept = b""
        elif surplus > 0:
            kept = _without_first(surplus, kept)
        self._count += len(new) - max(surplus, 0)
        self._encoded = b"%b,%b" % (kept, _encode(new)) if kept and new else kept or _encode(new)


def storable(text: str) -> str:
    """Return *text* as a string that can be stored: lone surrogates are written as escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def _encode(texts: list[str]) -> bytes:
    """Return *texts* as the inside of a JSON array."""
    try:
        return to_json(texts)[1:-1]
    except PydanticSerializationError:
        return to_json(list(map(storable, texts)))[1:-1]


def _without_first(n: int, encoded: bytes) -> bytes:
    """Return the inside of a JSON array of more than *n* texts without the first *n*."""
    # After its first quotation mark, a text has another one only at its end, or after a backslash.
    kept = encoded[1:].split(b'","', n)[-1]
    if encoded.find(b"\\", 0, len(encoded) - len(kept)) < 0:
        return b'"' + kept
    *_, last = islice(re.finditer(_TEXT, encoded), n)
    return encoded[last.end() :]
