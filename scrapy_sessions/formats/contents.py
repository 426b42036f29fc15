"""A file to import, the options for reading it, and its contents."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.fields import Fields, parse_json
from scrapy_sessions.formats.pickles import is_pickle, load_pickle
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.safe_repr import safe_repr

_T = TypeVar("_T")

_PLACES = 3  # in one remark
_REMARKS = 10  # that are shown


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
        encoding = json.detect_encoding(raw)
        if encoding.startswith("utf-8"):
            return decode(raw.removeprefix(codecs.BOM_UTF8))
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


@dataclass
class Contents:
    """The contents of a file: those of one session, or, in our own JSON, whole sessions.

    :param headers: by origin, as in a record; under ``"*"`` those of the identity
    :param dated: whether the file contains the times of the cookies
    :param notes: remarks for the user
    :param guessed: the cookies of which only name and value are known, by domain and name, with the URL that they were
        sent to
    """

    cookies: list[Cookie] = field(default_factory=list)
    local_storage: dict[str, dict[str, str]] = field(default_factory=dict)
    indexed_db: dict[str, list[Any]] = field(default_factory=dict)
    user_agent: str | None = None
    language: str | None = None
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    proxy: str | None = None
    records: list[PersistentSession] = field(default_factory=list)
    dated: bool = False
    notes: list[str] = field(default_factory=list)
    guessed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return safe_repr(self, "cookies", "records", "dated")


class Remarks:
    """Remarks about a file for the user: each once, with the first places in the file."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}

    def add(self, text: str, place: str) -> None:
        self._places.setdefault(text, []).append(place)

    def notes(self) -> list[str]:
        """Return a line for each remark. It quotes no value."""
        lines = []
        for text, places in self._places.items():
            named = list(dict.fromkeys(places))
            more = f" and {len(named) - _PLACES} more" if len(named) > _PLACES else ""
            lines.append(f"{', '.join(named[:_PLACES])}{more}: {text}")
        if len(lines) > _REMARKS:
            lines[_REMARKS:] = [f"{len(lines) - _REMARKS} more remarks"]
        return lines


class Skipping:
    """A context manager for reading one entry. If *enabled*, it adds a FormatError to :attr:`faults`, not raises it."""

    __slots__ = ("_enabled", "faults")

    def __init__(self, enabled: bool = False) -> None:
        self._enabled = enabled
        self.faults: list[FormatError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, fault: BaseException | None, traceback: object) -> bool:
        if not (self._enabled and isinstance(fault, FormatError)):
            return False
        self.faults.append(fault)
        return True


@dataclass
class Reading:
    """The options for reading a file.

    :param now: the time of the import (UNIX seconds), which cookies without times get
    :param url: the site of cookies without a domain: they are for its host only, and Secure if it is ``https``
    :param domain: instead of *url*: a host, with a leading dot for its subdomains too. If the cookies in the file have
        domains, only those of this host and its subdomains are kept
    :param skipping: handles entries that can't be read
    """

    now: float = 0.0
    url: str | None = None
    domain: str | None = None
    skipping: Skipping = field(default_factory=Skipping)
    remarks: Remarks = field(default_factory=Remarks)

    def __repr__(self) -> str:
        return safe_repr(self, "now", "domain")

    @property
    def placed(self) -> bool:
        """Whether the user named the site."""
        return self.url is not None or self.domain is not None

    def site(self) -> tuple[str, bool]:
        """Return the domain of cookies without one, and whether they are Secure.

        Raises :exc:`~scrapy_sessions.exceptions.FormatError`.
        """
        if self.url is not None:
            return host_of(self.url, "the URL")
        if not self.domain:
            raise FormatError("the file", "it doesn't contain the site of its cookies: name it with --url")
        return self.domain, False


def host_of(url: str, place: str) -> tuple[str, bool]:
    """Return the host of *url*, and whether it is encrypted. Raises FormatError, which names *place*."""
    try:
        parts = urlsplit(url)
        host = canonical_host(parts.hostname or "") if parts.port != 0 else None  # the port may raise, too
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise FormatError(place, "it needs http:// or https:// and a host")
    return host, parts.scheme == "https"


def read_entries(value: Any, path: str, read: Callable[[Fields], _T], reading: Reading) -> list[_T]:
    """Return what *read* makes of each object in the list *value* at *path*; null is an empty list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise FormatError(path, "it must be a list")
    found = []
    for index, each in enumerate(value):
        with reading.skipping:
            found.append(read(Fields(each, f"{path}[{index}]")))
    return found
