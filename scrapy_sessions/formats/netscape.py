"""Netscape's ``cookies.txt``, which curl, wget and :class:`http.cookiejar.MozillaCookieJar` read and write.

One cookie a line, seven fields with a TAB between: domain, whether its subdomains get it, path, secure, expiry (0: a
session cookie), name, value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.fields import made
from scrapy_sessions.models import Cookie

__all__ = ["HEADER", "dump", "load"]

HEADER = "# Netscape HTTP Cookie File"
"""The first line, by which readers know the format."""

_HTTP_ONLY = "#HttpOnly_"
_FIELDS = ("domain", "include subdomains", "path", "secure", "expires", "name", "value")
_FLAGS = {"TRUE": True, "FALSE": False}
_SESSION = frozenset({"", "0", "-1"})


def load(text: str, *, now: float = 0.0) -> list[Cookie]:
    """Return the cookies of *text*, taken as changed at *now* (UNIX seconds).

    Bytes that aren't UTF-8 stand in it as :class:`~scrapy_sessions.Cookie` has them. Raises
    :exc:`~scrapy_sessions.exceptions.FormatError`, which names line and field.
    """
    cookies = []
    # Not splitlines(): a value may hold what Python, and nobody else, takes for the end of a line.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.removesuffix("\r")  # noqa: PLW2901
        http_only = line.startswith(_HTTP_ONLY)
        if http_only:
            line = line.removeprefix(_HTTP_ONLY)  # noqa: PLW2901
        elif line.startswith("#") or not line.strip():
            continue
        cookies.append(_cookie(line.split("\t"), f"line {number}", http_only, now))
    return cookies


def _cookie(fields: list[str], line: str, http_only: bool, now: float) -> Cookie:
    if len(fields) == len(_FIELDS) - 1:
        fields = [*fields, ""]  # an editor has cut the TAB before an empty value
    if len(fields) != len(_FIELDS):
        raise FormatError(line, f"it has {len(fields)} fields, and needs 7 with a TAB between: {', '.join(_FIELDS)}")
    domain, subdomains, path, secure, expires, name, value = fields
    return made(
        line,
        name=name,
        value=value,
        domain=domain,
        host_only=not _flag(subdomains, line, "include subdomains"),
        path=path,
        expires=_expires(expires, line),
        secure=_flag(secure, line, "secure"),
        http_only=http_only,
        now=now,
    )


def _flag(text: str, line: str, field: str) -> bool:
    flag = _FLAGS.get(text.upper())
    if flag is None:
        raise FormatError(line, f"the field {field!r} must be TRUE or FALSE")
    return flag


def _expires(text: str, line: str) -> float | None:
    if text in _SESSION:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise FormatError(line, "the field 'expires' must be a number of seconds since 1970, 0 for a session cookie")
    return seconds


def dump(cookies: Iterable[Cookie]) -> str:
    """Return *cookies* as text. Expiries lose their fraction of a second; SameSite and partitions are not in it.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which names the cookie, for one that holds a TAB or the end
    of a line.
    """
    lines = [HEADER, "# These cookies are a login: whoever has this file is logged in.", ""]
    for cookie in cookies:
        for field in (cookie.name, cookie.value, cookie.path):
            if any(character in field for character in "\t\r\n"):
                raise FormatError(
                    f"the cookie {cookie.name!r} of {cookie.domain}",
                    "it holds a TAB or the end of a line, which cookies.txt can't: export it in another format",
                )
        fields = (
            cookie.domain if cookie.host_only else f".{cookie.domain}",
            "FALSE" if cookie.host_only else "TRUE",
            cookie.path,
            "TRUE" if cookie.secure else "FALSE",
            # 0 would turn a cookie that expired in 1970 into one that never does.
            "0" if cookie.expires is None else str(max(1, int(cookie.expires))),
            cookie.name,
            cookie.value,
        )
        lines.append((_HTTP_ONLY if cookie.http_only else "") + "\t".join(fields))
    return "\n".join(lines) + "\n"
