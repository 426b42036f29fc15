"""The content of a file as text and as a JSON document."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.formats.fields import parse_json
from scrapy_sessions.formats.pickles import is_pickle, load_pickle

__all__ = ["Source"]

_UTF_8, _UTF_16_LE, _UTF_16_BE = b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"


class Source:
    """A file that is imported. A ``str`` is its decoded text. ``notes`` are remarks on its encoding for the user."""

    def __init__(self, content: bytes | str) -> None:
        self.notes: list[str] = []
        self.is_pickle = isinstance(content, bytes) and is_pickle(content)
        self._content = content

    @cached_property
    def text(self) -> str:
        """The text. Bytes that are not UTF-8 are decoded as in a cookie's value, so that this never fails."""
        content = self._content
        text = content if isinstance(content, str) else self._decoded(content)
        text = text.removeprefix("\ufeff")
        if "\r" in text.rstrip("\r") and "\n" not in text:
            self.notes.append("its lines end with CR alone, as on old Macs: they were read as lines")
            text = text.replace("\r", "\n")
        return text

    def _decoded(self, raw: bytes) -> str:
        if raw.startswith(_UTF_8):
            return decode(raw[len(_UTF_8) :])
        start = raw[:2]
        if start in {_UTF_16_LE, _UTF_16_BE}:
            encoding = "utf-16-le" if start == _UTF_16_LE else "utf-16-be"
        elif len(raw) > 3 and (raw[0] == 0) != (raw[1] == 0):
            encoding = "utf-16-be" if raw[0] == 0 else "utf-16-le"
        else:
            return decode(raw)
        self.notes.append("its text is UTF-16, as the > of PowerShell writes it: it was decoded")
        return raw.decode(encoding, "replace")

    @cached_property
    def is_document(self) -> bool:
        """Whether it begins as a JSON document does, or is a pickle, which is read as one."""
        return self.is_pickle or self.text.lstrip()[:1] in {"{", "["}

    @cached_property
    def document(self) -> Any:
        """The JSON document. Raises :exc:`~scrapy_sessions.exceptions.FormatError`."""
        if self.is_pickle:
            assert isinstance(self._content, bytes)  # noqa: S101  # for the type checker
            return load_pickle(self._content)
        return parse_json(self.text)
