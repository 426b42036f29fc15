"""HAR, a browser's recording of its requests: the cookies at its end.

A jar stores every ``Set-Cookie`` at the time of its response and with the URL of its request, so that all cookie rules
apply. Other cookies that requests sent were set before the recording, or by a script: only their names and values are
known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from operator import attrgetter
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.cookies.rules import domain_matches
from scrapy_sessions.exceptions import FormatError, InvalidCookie
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.cookie_fields import SESSION_WORDS, make_cookie, parse_date, to_seconds
from scrapy_sessions.formats.cookie_header import parse_pairs
from scrapy_sessions.formats.fields import Fields, is_text
from scrapy_sessions.safe_repr import safe_repr

_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_REDACTED = re.compile(r"\[[^\[\]]*redacted\]|<redacted>|redacted|\*{3,}|(?:\u2022){3,}", re.IGNORECASE)
_BAD_DATE = "its expiry can't be read: it counts as a session cookie"


class _Event(NamedTuple):
    """A request or its response."""

    time: float
    message: Fields
    url: SplitResult
    host: str
    sent: bool

    def __repr__(self) -> str:
        return safe_repr(self, "time", "host", "sent")


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't a HAR; ``None`` if it is."""
    content = source.document
    return None if isinstance(content, dict) and "log" in content else 'it has no "log"'


def read(source: Source, reading: Reading) -> Contents:
    """Return the unexpired cookies of a recording, with its times, and the browser's user agent and language."""
    contents = Contents(dated=True)
    replay = _Replay(reading)
    entries = Fields(source.document, "").child("log")
    events = list(_events(entries, reading))
    for event in sorted(events, key=attrgetter("time")):
        with reading.skipping:
            replay.add(event)
        if event.sent:
            contents.user_agent = contents.user_agent or _header(event.message, "user-agent")
            contents.language = contents.language or _header(event.message, "accept-language")
    contents.cookies, contents.guessed = replay.finish()
    contents.notes += _notes(contents, replay)
    return contents


def _notes(contents: Contents, replay: _Replay) -> Iterator[str]:
    if replay.redacted:
        yield (
            f"{replay.redacted} values are redacted, so that they are no login: export the recording again, with "
            "sensitive data"
        )
    elif not contents.cookies and not replay.refusals:
        yield "the recording contains no cookie: export it again, with sensitive data (Chromium leaves that out)"
    if contents.guessed:
        yield f"{len(contents.guessed)} cookies were set before the recording began: their path and expiry are unknown"
    if replay.refusals:
        yield f"{len(replay.refusals)} cookies of the recording break the rules and were refused"


def _events(log: Fields, reading: Reading) -> Iterator[_Event]:
    if log.content.get("entries") is None:
        log.fail("entries", "it is missing")
    only = canonical_host(reading.domain.removeprefix(".")) if reading.domain else None
    last = 0.0
    for index, each in enumerate(log.items("entries")):
        with reading.skipping:
            entry = Fields(each, f"{log.path}.entries[{index}]")
            request = entry.child("request")
            url = _url(request)
            last = _started(entry, last)
            host = canonical_host(url.hostname or "") if url is not None else None
            # Only this domain and its subdomains can set its cookies.
            if url is None or host is None or (only is not None and not domain_matches(host, only)):
                continue
            # With a clock that is fast, cookies would be newer than all later ones.
            yield _Event(min(last, reading.now), request, url, host, sent=True)
            response = entry.content.get("response")
            if response is None or entry.content.get("_fromCache"):
                continue
            answer = Fields(response, entry.place("response"))
            if not answer.content.get("_fromCache"):
                yield _Event(min(last + _answered(entry), reading.now), answer, url, host, sent=False)


def _url(request: Fields) -> SplitResult | None:
    """Return the URL of *request*; ``None`` for ``data:``, ``blob:`` and the browser's own pages."""
    try:
        url = urlsplit(request.text("url"))
        return url if url.scheme in _SCHEMES and url.hostname else None
    except ValueError:
        request.fail("url", "it can't be read")


def _started(entry: Fields, last: float) -> float:
    if "startedDateTime" not in entry:
        return last  # in the order of the file
    date = parse_date(entry.text("startedDateTime"))
    if date is None:
        entry.fail("startedDateTime", "it is no date like 2026-01-31T12:00:00.000Z")
    return date


def _answered(entry: Fields) -> float:
    """Return the seconds from the start of *entry* to its response, without those for the body."""
    total = entry.number("time") or 0.0
    timings = entry.content.get("timings")
    body = Fields(timings, entry.place("timings")).number("receive") if isinstance(timings, dict) else None
    return max(0.0, total - max(0.0, body or 0.0)) / 1000


def _header(message: Fields, name: str) -> str | None:
    values = _headers(message, name)
    return values[0] if values and is_text(values[0]) else None


def _headers(message: Fields, name: str) -> list[str]:
    """Return the values of the headers *name* (lower case). The many other headers are not checked."""
    values = []
    for index, each in enumerate(message.items("headers")):
        try:
            if each["name"].lower() != name:
                continue
        except (TypeError, KeyError, AttributeError):
            Fields(each, f"{message.place('headers')}[{index}]").text("name")
            continue
        values.append(_repaired(Fields(each, f"{message.place('headers')}[{index}]").text("value")))
    return values


def _repaired(text: str) -> str:
    """Return *text* as UTF-8 if a recorder (Playwright) stored its bytes as Latin-1."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


class _Replay:
    """Replays the events in a jar."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._now = reading.now
        self._guessed: dict[
            tuple[str, str], tuple[str, str]
        ] = {}  # by host and name: URL of the last request, and value
        # A cache: by name, the schemes and hosts to which the jar sends such a cookie on every path.
        self._known: dict[str, set[tuple[str, str]]] = {}
        self.redacted = 0
        self.refusals: list[str] = []
        self._jar = SessionCookieJar(clock=lambda: self._now, on_refused=self.refusals.append)

    def add(self, event: _Event) -> None:
        self._now = event.time
        if event.sent:
            self._add_sent(event)
        else:
            headers = [header for header in self._set_cookies(event.message) if not self._is_redacted(header)]
            self._forget(headers, event.host)
            self._jar.store(headers, event.url)

    def finish(self) -> tuple[list[Any], dict[tuple[str, str], str]]:
        """Return the cookies, and the guessed ones among them, with the URL of their last request."""
        self._now = self._reading.now
        cookies = self._jar.dump()
        kept = {(cookie.domain, cookie.name) for cookie in cookies}
        return cookies, {key: url for key, (url, _) in self._guessed.items() if key in kept}

    def _is_redacted(self, header: str) -> bool:
        value = header.partition(";")[0].partition("=")[2].strip()
        if not _REDACTED.fullmatch(value or header):
            return False
        self.redacted += 1
        return True

    def _set_cookies(self, response: Fields) -> Iterable[str]:
        headers = _headers(response, "set-cookie")
        if headers:
            # Chromium joins several headers with line breaks.
            return [line for header in headers for line in header.split("\n") if line]
        return [self._as_header(fields) for fields in _cookies(response)]

    def _as_header(self, fields: Fields) -> str:
        parts = [_repaired(fields.text("value"))]
        for attribute in ("path", "domain"):
            text = fields.text(attribute, "") if fields.content.get(attribute) is not None else ""
            if text:
                parts.append(f"{attribute}={text}")
        expires = self._expires(fields)
        if expires is not None:
            parts.append(f"expires={formatdate(expires, usegmt=True)}")
        if fields.content.get("sameSite"):
            parts.append(f"samesite={fields.text('sameSite')}")
        flags = [flag for flag, name in (("secure", "secure"), ("httponly", "httpOnly")) if fields.content.get(name)]
        name = _repaired(fields.text("name"))
        for part in (name, *parts):
            if ";" in part:
                fields.fail("value", "name, value or an attribute contains a semicolon, which no cookie can")
        return "; ".join([f"{name}={parts[0]}", *parts[1:], *flags])

    def _expires(self, fields: Fields) -> float | None:
        value = fields.content.get("expires")
        if value is None or (isinstance(value, str) and value.strip().lower() in SESSION_WORDS):
            return None
        date = parse_date(value) if isinstance(value, str) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            date = to_seconds(float(min(value, 1e18)))[0]
        if date is None:
            self._reading.remarks.add(_BAD_DATE, fields.path)
        return date

    def _forget(self, headers: list[str], host: str) -> None:
        """Delete guessed cookies that the site now sets: with another path, they would be kept beside the new ones."""
        for header in headers:
            guess = (host, header.partition("=")[0].strip())
            self._known.pop(guess[1], None)
            if guess in self._guessed:
                del self._guessed[guess]
                self._jar.delete(guess[1], domain=host)

    def _add_sent(self, event: _Event) -> None:
        """Add the cookies of a request that the jar doesn't contain, or contains from a request only."""
        pairs = [(_repaired(each.text("name")), _repaired(each.text("value"))) for each in _cookies(event.message)]
        for line in [] if pairs else _headers(event.message, "cookie"):
            if _REDACTED.fullmatch(line.strip()):
                self.redacted += 1
            else:
                pairs += [(name, value) for _, name, value in parse_pairs(line)]
        secure = event.url.scheme in {"https", "wss"}
        place = event.message.place("cookies")
        url = event.url.geturl()
        for name, value in pairs:
            guess = (event.host, name)
            if guess in self._guessed:
                if self._guessed[guess][1] == value:
                    self._guessed[guess] = url, value
                    continue
            elif not name or self._is_known(event, name):
                continue
            if _REDACTED.fullmatch(value):
                self.redacted += 1
                continue
            try:
                self._jar.add(
                    make_cookie(place, self._reading, name=name, value=value, domain=event.host, secure=secure)
                )
            except (InvalidCookie, FormatError) as error:
                self.refusals.append(getattr(error, "reason", "malformed"))
            else:
                self._guessed[guess] = url, value

    def _is_known(self, event: _Event, name: str) -> bool:
        """Whether the jar sends a cookie called *name* with the request."""
        origins = self._known.setdefault(name, set())
        origin = (event.url.scheme, event.host)
        if origin in origins:
            return True
        sent = self._jar.sent_to(event.url, name)
        if any(cookie.path == "/" for cookie in sent):
            origins.add(origin)
        return bool(sent)


def _cookies(message: Fields) -> list[Fields]:
    path = message.place("cookies")
    return [Fields(each, f"{path}[{index}]") for index, each in enumerate(message.items("cookies"))]
