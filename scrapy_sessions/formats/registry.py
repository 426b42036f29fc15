"""The exchange formats by the names users type: how each is told apart, read and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.parse import decode, encode
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats import browser_extension, cookie_header, har, netscape, storage_state
from scrapy_sessions.formats.fields import fitting, parse_json
from scrapy_sessions.formats.records import dump as dump_records
from scrapy_sessions.formats.records import load as load_records
from scrapy_sessions.models import EVERYWHERE, Cookie, PersistentSession

__all__ = ["FORMATS", "Contents", "Format", "Site", "detect", "from_bytes", "left_out", "read", "to_bytes", "write"]


@dataclass(frozen=True)
class Contents:
    """What a file holds for a session, or, of our own JSON, the sessions themselves.

    ``dated``: the cookies' times are their own, not that of the import. ``notes`` are for the user. ``guessed`` has
    the cookies of which only name and value are known, by domain and name, with the URL that they were sent to.
    """

    cookies: list[Cookie] = field(default_factory=list)
    local_storage: dict[str, dict[str, str]] = field(default_factory=dict)
    user_agent: str | None = None
    language: str | None = None
    records: list[PersistentSession] = field(default_factory=list)
    dated: bool = False
    notes: list[str] = field(default_factory=list)
    guessed: Mapping[tuple[str, str], str] = field(default_factory=dict)


class Site(NamedTuple):
    """Whom the cookies of a format without domains are for, and the time of the import (UNIX seconds)."""

    now: float
    url: str | None = None
    domain: str | None = None


class Format(NamedTuple):
    """One format. ``write`` is ``None`` for one that is only read; ``whole``: it holds whole records, any number."""

    title: str
    suffix: str
    read: Callable[[str, Site], Contents]
    write: Callable[[PersistentSession, str | None], str] | None
    whole: bool = False


def from_bytes(raw: bytes) -> str:
    """Return the text of a file. Never fails: bytes that aren't UTF-8 stand as a cookie's value has them."""
    return decode(raw.removeprefix(b"\xef\xbb\xbf"))


def to_bytes(text: str) -> bytes:
    """Return the content of a file with *text*."""
    return encode(text)


def read(name: str, text: str, site: Site) -> Contents:
    """Return what *text*, in the format *name*, holds. Raises :exc:`~scrapy_sessions.exceptions.FormatError`."""
    return FORMATS[name].read(text, site)


def write(name: str, record: PersistentSession, *, url: str | None = None) -> str:
    """Return *record* in the format *name*; *url* is needed by ``header``.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError` for what the format can't hold.
    """
    writer = FORMATS[name].write
    if writer is None:
        raise FormatError(f"the format {name}", "it can be imported only")
    return writer(record, url)


def detect(text: str, *, placed: bool = False) -> str:
    """Return the name of the format of *text*. *placed*: the user said which site it is for, so a header may be it.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`.
    """
    text = text.removeprefix("\ufeff")
    head = text.lstrip()[:1]
    if head == "[":
        return "extension"
    if head == "{":
        first = _FIRST_KEY.match(text)
        found = first and _BY_KEY.get(first[1])
        if found is None:
            content = parse_json(text)
            found = next((_BY_KEY[key] for key in content if key in _BY_KEY), None)
        if found is not None:
            return found
    elif _NETSCAPE.search(text):
        return "netscape"
    elif _HEADER.match(text) or (placed and "=" in text):
        return "header"
    raise FormatError("the file", f"its format can't be told: name it with --format ({', '.join(FORMATS)})")


_FIRST_KEY = re.compile(r'\s*\{\s*"(\w+)"\s*:')
_BY_KEY = {
    "format": "json",
    "sessions": "json",
    "log": "har",
    "cookies": "storage-state",
    "origins": "storage-state",
}
_NETSCAPE = re.compile(r"\A\s*#(?: Netscape)? HTTP Cookie File|^[^\t\n]+(?:\t[^\t\n]*){5,6}\r?$", re.MULTILINE)
_HEADER = re.compile(r"\s*(?:set-)?cookie:", re.IGNORECASE)


def _read_netscape(text: str, site: Site) -> Contents:
    return Contents(netscape.load(text, now=site.now))


def _read_storage_state(text: str, site: Site) -> Contents:
    state = storage_state.read(text, now=site.now)
    notes = [f"{state.left_out} entries of local storage are no text and were left out"] if state.left_out else []
    return Contents(state.cookies, state.local_storage, notes=notes)


def _read_extension(text: str, site: Site) -> Contents:
    return Contents(browser_extension.load(text, now=site.now))


def _read_har(text: str, site: Site) -> Contents:
    recording = har.read(text, now=site.now)
    notes = []
    if not recording.cookies and not recording.refused:
        notes.append("the recording holds no cookie: export it again, with sensitive data (Chromium leaves that out)")
    if recording.guessed:
        notes.append(
            f"{len(recording.guessed)} cookies were set before the recording began: their path and expiry are unknown"
        )
    if recording.refused:
        notes.append(f"{recording.refused} cookies of the recording break the rules and were refused")
    return Contents(
        recording.cookies,
        {},
        recording.user_agent,
        recording.language,
        dated=True,
        notes=notes,
        guessed=recording.guessed,
    )


def _read_header(text: str, site: Site) -> Contents:
    cookies = cookie_header.load(text, url=site.url, domain=site.domain, now=site.now)
    guessed = {(each.domain, each.name): site.url or f"https://{each.domain}/" for each in cookies}
    return Contents(cookies, guessed=guessed)


def _read_json(text: str, site: Site) -> Contents:
    return Contents(records=load_records(text), dated=True)


def _live(cookies: Iterable[Cookie]) -> list[Cookie]:
    return SessionCookieJar(cookies).dump()


def _write_netscape(record: PersistentSession, url: str | None) -> str:
    return netscape.dump(cookie for cookie in _live(record.cookies) if fitting(cookie))


def _write_storage_state(record: PersistentSession, url: str | None) -> str:
    return storage_state.dump(_live(record.cookies), record.local_storage)


def _write_extension(record: PersistentSession, url: str | None) -> str:
    return browser_extension.dump(_live(record.cookies))


def _write_header(record: PersistentSession, url: str | None) -> str:
    if url is None:
        raise FormatError("the format header", "it is for one URL: name it with --url")
    return cookie_header.dump(record.cookies, url=url)


def _write_json(record: PersistentSession, url: str | None) -> str:
    return dump_records([record])


FORMATS: Mapping[str, Format] = {
    "json": Format("our own JSON, complete", ".json", _read_json, _write_json, whole=True),
    "netscape": Format("cookies.txt, as curl and wget read it", ".txt", _read_netscape, _write_netscape),
    "storage-state": Format(
        "Playwright's storage_state: cookies and local storage", ".json", _read_storage_state, _write_storage_state
    ),
    "extension": Format("the JSON of browsers' cookie extensions", ".json", _read_extension, _write_extension),
    "har": Format("a browser's recording of its requests", ".har", _read_har, None),
    "header": Format("a Cookie header", ".txt", _read_header, _write_header),
}


def left_out(name: str, record: PersistentSession) -> list[str]:
    """Say what of *record* the format *name* can't hold, in words for the user. Holds no value."""
    if FORMATS[name].whole:
        return []
    lost = []
    if (
        record.user_agent
        or record.language
        or record.timezone
        or record.viewport_width
        or record.headers.get(EVERYWHERE)
    ):
        lost.append("its identity (user agent, language, …)")
    if record.proxy:
        lost.append("its proxy")
    bound = sum(origin != EVERYWHERE and bool(headers) for origin, headers in record.headers.items())
    if bound:
        lost.append(f"headers for {_counted(bound, 'origin')}")
    if record.local_storage and name != "storage-state":
        lost.append(f"local storage of {_counted(len(record.local_storage), 'origin')}")
    if record.session_storage:
        lost.append(f"session storage of {_counted(len(record.session_storage), 'origin')}")
    if record.data:
        lost.append("its data")
    cookies = _live(record.cookies)
    foreign = sum(not fitting(cookie) for cookie in cookies)
    if name == "netscape" and foreign:
        lost.append(_counted(foreign, "partitioned cookie"))
    if name == "netscape" and any(cookie.same_site for cookie in cookies):
        lost.append("SameSite of its cookies")
    if name == "header":
        lost.append("all that a cookie has beside name and value")
    return lost


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
