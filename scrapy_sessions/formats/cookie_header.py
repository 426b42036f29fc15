"""A ``Cookie:`` header, as a browser's developer tools copy it: names and values, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.fields import made
from scrapy_sessions.models import Cookie

__all__ = ["dump", "load"]

_NAME = "cookie:"
_PROMISES = ("__host-", "__secure-")
_SET_COOKIE = re.compile(r"\s*set-cookie2?:", re.IGNORECASE)
# What no site calls its cookies, and every Set-Cookie has: not Path and Domain, which are names of cookies too.
_ATTRIBUTE = re.compile(
    r"secure|httponly|partitioned|samesite=(?:lax|strict|none)|max-age=-?\d+|expires=\w+, .* gmt", re.IGNORECASE
)

_NOT_SENT = "this is a Set-Cookie header, of a response: copy the Cookie header of a request"


def load(text: str, *, url: str | None = None, domain: str | None = None, now: float = 0.0) -> list[Cookie]:
    """Return the cookies of the header *text*, with or without its name, taken as changed at *now* (UNIX seconds).

    They get the path ``/`` and end with the browser: a header doesn't say more.

    :param url: where the header was sent: they are for its host alone, and Secure if it is ``https``
    :param domain: instead of it, a host; with a leading dot: for its subdomains too

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`.
    """
    text = text.removeprefix("\ufeff")
    if _SET_COOKIE.match(text):
        raise FormatError("the header", _NOT_SENT)
    host, secure = _place(url, domain)
    lines = [line.strip() for line in text.split("\n")]
    filled = [number for number, line in enumerate(lines, 1) if line]
    if len(filled) > 1:
        raise FormatError(f"line {filled[1]}", "a Cookie header is one line")
    header = lines[filled[0] - 1] if filled else ""
    if header[: len(_NAME)].lower() == _NAME:
        header = header[len(_NAME) :]
    cookies: dict[str, Cookie] = {}
    for number, pair in enumerate(header.split(";"), 1):
        if not pair.strip(" \t"):
            continue
        if number > 1 and _ATTRIBUTE.fullmatch(pair.strip(" \t")):
            raise FormatError(f"cookie {number}", f"it is an attribute, and {_NOT_SENT}")
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair
        name = name.strip(" \t")
        cookie = made(
            f"cookie {number}",
            name=name,
            value=value.strip(" \t"),
            domain=host,
            # A browser has sent it: what its name promises was kept.
            secure=secure or name.lower().startswith(_PROMISES),
            now=now,
        )
        cookies.setdefault(name, cookie)  # of two, the one of the longer path comes first, and is what sites read
    return list(cookies.values())


def _place(url: str | None, domain: str | None) -> tuple[str, bool]:
    if url is None:
        if not domain:
            raise FormatError("the header", "it doesn't say which site it is for: name its URL or domain")
        return domain, False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise FormatError("the URL", "it needs http:// or https:// and a host")
    return host, parts.scheme == "https"


def dump(cookies: Iterable[Cookie], *, url: str) -> str:
    """Return the ``Cookie`` header of a request to *url*, with its name: of *cookies* those that go there.

    It is empty if none goes there. Raises :exc:`~scrapy_sessions.exceptions.FormatError` for a URL without a host.
    """
    _place(url, None)
    header = SessionCookieJar(cookies).header(urlsplit(url))
    return "" if header is None else f"Cookie: {decode(header)}\n"
