"""HAR, a browser's recording of its requests: the cookies that were there at its end.

Every ``Set-Cookie`` passes through a jar, at the time of its response and with the URL of its request, so that all
rules of cookies hold. What requests sent beyond that was set before the recording began, or by a script: of those only
name and value are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import formatdate
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.exceptions import FormatError, InvalidCookie
from scrapy_sessions.formats.fields import Fields, is_text, made, parse_json
from scrapy_sessions.models import Cookie

__all__ = ["Recording", "load", "read"]

_SCHEMES = frozenset({"http", "https", "ws", "wss"})


class Recording(NamedTuple):
    """What a session takes from a recording.

    :param guessed: the cookies that were seen in requests only, whose domain, path and expiry are guesses: by domain
        and name, with the URL of the last request
    :param refused: how many cookies the rules refused
    """

    cookies: list[Cookie]
    user_agent: str | None
    language: str | None
    guessed: dict[tuple[str, str], str]
    refused: int


class _Event(NamedTuple):
    time: float
    message: Fields  # a request or a response
    url: SplitResult
    sent: bool


def load(text: str, *, now: float | None = None) -> list[Cookie]:
    """Return the cookies of the recording *text* that have not expired at *now* (UNIX seconds, default: the present).

    Their times are those of the recording. Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which names the
    JSON path.
    """
    return read(text, now=now).cookies


def read(text: str, *, now: float | None = None) -> Recording:
    """Return what a session takes from the recording *text*. Raises as :func:`load`."""
    end = time.time() if now is None else now
    moment = end
    refusals: list[str] = []
    jar = SessionCookieJar(clock=lambda: moment, on_refused=refusals.append)
    guessed: dict[tuple[str, str], str] = {}
    user_agent = language = None
    for event in sorted(_events(parse_json(text), end), key=itemgetter(0)):
        moment = event.time
        if event.sent:
            user_agent = user_agent or _header(event.message, "user-agent")
            language = language or _header(event.message, "accept-language")
            _take_sent(jar, event, guessed, refusals)
        else:
            headers = _set_cookies(event.message)
            _forget_guesses(jar, headers, event.url, guessed)
            jar.store(headers, event.url)
    moment = end
    cookies = jar.dump()
    kept = {(cookie.domain, cookie.name) for cookie in cookies}
    guessed = {key: url for key, url in guessed.items() if key in kept}
    return Recording(cookies, user_agent, language, guessed, len(refusals))


def _events(document: object, end: float) -> Iterable[_Event]:
    last = 0.0
    for entry in Fields(document, "").child("log").items("entries", needed=True):
        request, response = entry.child("request"), entry.child("response")
        try:
            url = urlsplit(request.text("url"))
            known = url.scheme in _SCHEMES and bool(url.hostname)
        except ValueError:
            request.fail("url", "it can't be read")
        began = last = _started(entry, last)
        if not known:
            continue  # data:, blob:, a page of the browser itself
        # A clock that runs ahead must not make cookies newer than all that come after them.
        yield _Event(min(began, end), request, url, sent=True)
        if not entry.content.get("_fromCache") and not response.content.get("_fromCache"):
            yield _Event(min(began + _answered(entry), end), response, url, sent=False)


def _started(entry: Fields, last: float) -> float:
    if "startedDateTime" not in entry:
        return last  # in the order of the file
    return _date(entry.text("startedDateTime"), entry, "startedDateTime")


def _date(text: str, fields: Fields, name: str) -> float:
    try:
        date = datetime.fromisoformat(_tidy(text))
        return (date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        fields.fail(name, "it is no date like 2026-01-31T12:00:00.000Z")


def _tidy(text: str) -> str:
    # Python 3.10 reads three or six digits of a second, and no Z.
    text = text[:-1] + "+00:00" if text[-1:] in {"Z", "z"} else text
    head, point, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}" if point else text


def _answered(entry: Fields) -> float:
    """Return how many seconds after its start the entry's response came, without the time its body took."""
    total = entry.number("time") or 0.0
    timings = entry.content.get("timings")
    body = Fields(timings, entry.place("timings")).number("receive") if isinstance(timings, dict) else None
    return max(0.0, total - max(0.0, body or 0.0)) / 1000


def _header(message: Fields, name: str) -> str | None:
    values = _headers(message, name)
    return values[0] if values and is_text(values[0]) else None


def _headers(message: Fields, name: str) -> list[str]:
    return [each.text("value") for each in message.items("headers") if each.text("name").lower() == name]


def _set_cookies(response: Fields) -> list[str]:
    headers = _headers(response, "set-cookie")
    if headers:
        # Chromium writes several as one, with the ends of lines between.
        return [line for header in headers for line in header.split("\n") if line]
    return [_as_header(fields) for fields in response.items("cookies")]


def _as_header(fields: Fields) -> str:
    said = [fields.text("value")]
    for attribute in ("path", "domain"):
        text = fields.text(attribute, "") if fields.content.get(attribute) is not None else ""
        if text:
            said.append(f"{attribute}={text}")
    if fields.content.get("expires"):
        said.append(f"expires={formatdate(_date(fields.text('expires'), fields, 'expires'), usegmt=True)}")
    if fields.content.get("sameSite"):
        said.append(f"samesite={fields.text('sameSite')}")
    flags = [flag for flag, name in (("secure", "secure"), ("httponly", "httpOnly")) if fields.content.get(name)]
    for part in (fields.text("name"), *said):
        if ";" in part:
            fields.fail("value", "name, value or an attribute holds a semicolon, which no cookie can")
    return "; ".join([f"{fields.text('name')}={said[0]}", *said[1:], *flags])


def _forget_guesses(
    jar: SessionCookieJar, headers: list[str], url: SplitResult, guessed: dict[tuple[str, str], str]
) -> None:
    """Delete the guessed cookies that the site now sets itself: with another path, the guess would stay beside them."""
    for header in headers:
        guess = (url.hostname or "", header.partition("=")[0].strip())
        if guess in guessed:
            del guessed[guess]
            jar.delete(guess[1], domain=guess[0])


def _take_sent(jar: SessionCookieJar, event: _Event, guessed: dict[tuple[str, str], str], refusals: list[str]) -> None:
    """Take what the request sent and *jar* doesn't know, or only knows from a request."""
    host = event.url.hostname or ""
    header = jar.header(event.url) or b""
    known = {pair.partition(b"=")[0].decode("utf-8", "replace") for pair in header.split(b"; ")}
    pairs = [(each.text("name"), each.text("value")) for each in event.message.items("cookies")]
    for line in [] if pairs else _headers(event.message, "cookie"):
        pairs += [(name.strip(), value.strip()) for name, _, value in (p.partition("=") for p in line.split(";"))]
    for name, value in pairs:
        if not name or (name in known and (host, name) not in guessed):
            continue
        secure = event.url.scheme in {"https", "wss"}
        try:
            jar.add(made(event.message.place("cookies"), name=name, value=value, domain=host, secure=secure))
        except (InvalidCookie, FormatError) as error:
            refusals.append(getattr(error, "reason", "malformed"))
        else:
            guessed[host, name] = event.url.geturl()
