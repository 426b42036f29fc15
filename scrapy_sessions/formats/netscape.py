"""Netscape's ``cookies.txt``, which curl, wget and :class:`http.cookiejar.MozillaCookieJar` read and write.

One cookie per line, with seven fields separated by TABs: domain, whether its subdomains get it, path, secure, expiry
(0: a session cookie), name, value. For curl and Python, a line that begins with ``#HttpOnly_`` is an HttpOnly cookie;
for wget and aria2, it is a comment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from scrapy_sessions.cookies.scope import dotted_domain
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents, Reading, Source
from scrapy_sessions.formats.cookie_fields import make_cookie
from scrapy_sessions.models import Cookie

HEADER = "# Netscape HTTP Cookie File"
"""The first line, by which readers recognise the format."""

_HTTP_ONLY = "#HttpOnly_"
_FIELDS = ("domain", "include subdomains", "path", "secure", "expires", "name", "value")
_FLAGS = {"TRUE": True, "FALSE": False}
_SESSION = frozenset({"", "0", "-1"})
_FIRST_LINE = re.compile(r"\s*#(?: Netscape)? HTTP Cookie File")
_LINE = re.compile(r"^[^\t\n]+(?:\t[^\t\n]*){5,6}\r?$", re.MULTILINE)
_PORT = re.compile(r"(.*[^:]):\d{1,5}")
_SPACES = re.compile(r"\S+[ \t]+(?:TRUE|FALSE)[ \t]+/\S*[ \t]+(?:TRUE|FALSE)[ \t]", re.IGNORECASE)
_SPACED_LINE = re.compile(rf"^{_SPACES.pattern}", re.IGNORECASE | re.MULTILINE)
_SPACES_FAULT = "it has spaces in place of TABs: an editor or a chat has changed the file, copy it again as a file"


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't a cookies.txt; ``None`` if it is."""
    text = source.text
    if _FIRST_LINE.match(text) or _LINE.search(text) or _SPACED_LINE.search(text):
        return None
    return "it has no line of seven fields with a TAB between"


def read(source: Source, reading: Reading) -> Contents:
    """Return the cookies of a cookies.txt. Bytes that aren't UTF-8 are decoded as in ``Cookie.value``."""
    cookies = []
    # Not splitlines(): it also splits at characters that a value may contain.
    for number, line in enumerate(source.text.split("\n"), 1):
        line = line.removesuffix("\r")  # noqa: PLW2901
        http_only = False
        if line.startswith("#"):
            if not line.startswith(_HTTP_ONLY):
                continue
            http_only = True
            line = line.removeprefix(_HTTP_ONLY)  # noqa: PLW2901
        elif not line or line.isspace():
            continue
        with reading.skipping:
            cookies.append(_cookie(line.split("\t"), f"line {number}", http_only, reading))
    return Contents(cookies)


def _cookie(fields: list[str], line: str, http_only: bool, reading: Reading) -> Cookie:
    if len(fields) == len(_FIELDS) - 1:
        fields = [*fields, ""]  # an editor removed the TAB before an empty value
    if len(fields) != len(_FIELDS):
        if len(fields) < len(_FIELDS) and _SPACES.match("\t".join(fields)):
            raise FormatError(line, _SPACES_FAULT)
        raise FormatError(line, f"it has {len(fields)} fields, and needs 7 with a TAB between: {', '.join(_FIELDS)}")
    domain, subdomains, path, secure, expires, name, value = fields
    port = _PORT.fullmatch(domain)
    if port is not None and ":" not in port[1]:  # wget writes the port of its site; cookies have none
        domain = port[1]
        reading.remarks.add("its domain has a port, which was left out: cookies are for all ports", line)
    return make_cookie(
        line,
        reading,
        name=name,
        value=value,
        domain=domain,
        host_only=not _flag(subdomains, line, "include subdomains"),
        path=path,
        expires=None if expires in _SESSION else _expires(expires, line),
        secure=_flag(secure, line, "secure"),
        http_only=http_only,
    )


def _flag(text: str, line: str, field: str) -> bool:
    flag = _FLAGS.get(text.upper())
    if flag is None:
        raise FormatError(line, f"the field {field!r} must be TRUE or FALSE")
    return flag


def _expires(text: str, line: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise FormatError(line, "the field 'expires' must be a number of seconds since 1970, 0 for a session cookie")
    return seconds


def dump(cookies: Iterable[Cookie], *, http_only: bool = True) -> str:
    """Return *cookies* as text: expiries in whole seconds, no SameSite, no partitions.

    :param http_only: mark HttpOnly cookies with ``#HttpOnly_``; False: write them as others, for tools that skip such
        lines

    Raises :exc:`~scrapy_sessions.exceptions.FormatError`, which names the cookie, for one that contains a TAB or the
    end of a line.
    """
    lines = [HEADER, "# These cookies are a login: keep this file secret.", ""]
    for cookie in cookies:
        for field in (cookie.name, cookie.value, cookie.path):
            if any(character in field for character in "\t\r\n"):
                raise FormatError(
                    f"the cookie {cookie.name!r} of {cookie.domain}",
                    "it contains a TAB or the end of a line, which cookies.txt can't: export it in another format",
                )
        fields = (
            dotted_domain(cookie),
            "FALSE" if cookie.host_only else "TRUE",
            cookie.path,
            "TRUE" if cookie.secure else "FALSE",
            # 0 would turn a cookie that expired in 1970 into one that never does.
            "0" if cookie.expires is None else str(max(1, int(cookie.expires))),
            cookie.name,
            cookie.value,
        )
        lines.append((_HTTP_ONLY if cookie.http_only and http_only else "") + "\t".join(fields))
    return "\n".join(lines) + "\n"
