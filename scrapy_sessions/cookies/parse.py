"""The syntax of ``Set-Cookie`` (RFC 6265bis, section 5.6), and the text form of its bytes."""

from __future__ import annotations

import re
from contextlib import suppress
from http.cookiejar import http2time  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Literal, NamedTuple
from urllib.parse import quote

from scrapy_sessions.cookies.reasons import refused
from scrapy_sessions.safe_repr import safe_repr

MAX_PAIR_SIZE = 4096
"""Name and value together, in bytes: a larger cookie is refused."""

MAX_ATTRIBUTE_SIZE = 1024
"""The value of one attribute, in bytes: a larger attribute is ignored."""

MAX_EXPIRES = 253402300799.0
"""The last second of the year 9999, as UNIX time: the latest date that ``Expires`` can name bounds ``Max-Age`` too."""

SameSite = Literal["Strict", "Lax", "None"]

_SPACE = b" \t"
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE = re.compile(rb"-?[0-9]+")
_OLD_YEAR = r"\b1[6-9][0-9]{2}\b"
_SAME_SITE: dict[bytes, SameSite] = {b"strict": "Strict", b"lax": "Lax", b"none": "None"}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

# A byte 0x80 to 0xFF that isn't part of UTF-8 becomes U+EF80 to U+EFFF. Python's own escape, lone surrogates, can be
# stored neither as JSON nor in SQLite. If a site sends private-use characters of that range, they are escaped byte by
# byte, so that every byte sequence has exactly one text form.
_ESCAPE = {chr(0xDC00 + byte): chr(0xEF00 + byte) for byte in range(0x80, 0x100)}
_ESCAPE |= {chr(code): "".join(chr(0xEF00 + byte) for byte in chr(code).encode()) for code in range(0xEF80, 0xF000)}
_ESCAPED = "[\udc80-\udcff\uef80-\uefff]"
_UNESCAPE = {0xEF00 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}


def decode(raw: bytes) -> str:
    """Return the text form of *raw*: valid UTF-8 is decoded, each other byte becomes one private-use character."""
    if raw.isascii():
        return raw.decode("ascii")
    # A file has megabytes, nearly always of plain UTF-8: the check for U+EF80 to U+EFFF is a search for their bytes.
    if b"\xee\xbe" not in raw and b"\xee\xbf" not in raw:
        with suppress(UnicodeDecodeError):
            return raw.decode()
    return re.sub(_ESCAPED, lambda found: _ESCAPE[found[0]], raw.decode("utf-8", "surrogateescape"))


def encode(text: str) -> bytes:
    """Return the bytes whose text form is *text*. Raises :exc:`UnicodeEncodeError` for lone surrogates."""
    if text.isascii():
        return text.encode("ascii")
    return text.translate(_UNESCAPE).encode("utf-8", "surrogateescape")


class SetCookie(NamedTuple):
    """The parts of one ``Set-Cookie``, before they are checked against the response that sent it.

    :param domain: as sent, without one leading dot; ``None``: ``Domain`` is missing or empty
    :param path: ``None``: ``Path`` is missing or doesn't begin with ``/``
    :param expires: UNIX seconds, ``Max-Age`` included; ``None``: a session cookie
    """

    name: str
    value: str
    domain: str | None
    path: str | None
    expires: float | None
    secure: bool
    http_only: bool
    same_site: SameSite | None
    partitioned: bool

    def __repr__(self) -> str:
        return safe_repr(self, "name", "domain", "path", "expires")


def parse_set_cookie(header: bytes | str, now: float) -> SetCookie:
    """Parse one ``Set-Cookie`` value received at *now* (UNIX seconds). A ``str`` is in the text form.

    Raises :exc:`~scrapy_sessions.exceptions.InvalidCookie`, with the reason ``malformed`` or ``too_large``.
    """
    if isinstance(header, str):
        try:
            header = encode(header)
        except UnicodeEncodeError:
            raise refused("malformed") from None
    if _CONTROL.search(header):
        raise refused("malformed")
    pair, _, attributes = header.partition(b";")
    raw_name, equals, raw_value = pair.partition(b"=")
    if not equals:
        raw_name, raw_value = b"", raw_name
    raw_name, raw_value = raw_name.strip(_SPACE), raw_value.strip(_SPACE)
    if not raw_name and not raw_value:
        raise refused("malformed")
    if len(raw_name) + len(raw_value) > MAX_PAIR_SIZE:
        raise refused("too_large")

    domain = path = same_site = None
    expires = max_age = None
    secure = http_only = partitioned = False
    for attribute in attributes.split(b";") if attributes else ():
        key, _, value = attribute.partition(b"=")
        value = value.strip(_SPACE)
        if len(value) > MAX_ATTRIBUTE_SIZE:
            continue
        key = key.strip(_SPACE).lower()
        if key == b"path":
            path = _path(value)
        elif key == b"expires":
            date = parse_http_date(value.decode("latin-1").strip('"'))
            expires = expires if date is None else date
        elif key == b"max-age":
            if _MAX_AGE.fullmatch(value):
                max_age = int(value)
        elif key == b"domain":
            domain = decode(value.removeprefix(b".")) or None
        elif key == b"secure":
            secure = True
        elif key == b"httponly":
            http_only = True
        elif key == b"samesite":
            same_site = _SAME_SITE.get(value.lower())
        elif key == b"partitioned":
            partitioned = True
    if max_age is not None:
        expires = min(now + min(max_age, MAX_EXPIRES), MAX_EXPIRES) if max_age > 0 else 0.0
    return SetCookie(
        decode(raw_name), decode(raw_value), domain, path, expires, secure, http_only, same_site, partitioned
    )


def _path(value: bytes) -> str | None:
    if not value.startswith(b"/"):
        return None
    # Scrapy's URLs are percent-encoded: a path in other characters would match no URL.
    return value.decode("ascii") if value.isascii() else quote(value, safe=_PRINTABLE)


def parse_http_date(text: str) -> float | None:
    """Return the UNIX seconds of the date *text*, 0 for one before 1970; ``None`` if it can't be read."""
    try:
        date = http2time(text)
        if date is None:
            # http2time reads no date before 1970. The RFC allows them from 1601 on; sites send them to delete a cookie.
            year = re.search(_OLD_YEAR, text)
            known = year is not None and http2time(text.replace(year[0], "1970", 1)) is not None
            return 0.0 if known else None
    except ValueError:  # from http2time: the form is right, but the month doesn't exist
        return None
    return float(date)
