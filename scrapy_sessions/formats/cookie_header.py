"""Names and values without a site: a ``Cookie:`` header, ``document.cookie``, and JSON objects of names and values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.cookies.parse import decode
from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents, Reading, Source, host_of
from scrapy_sessions.formats.cookie_fields import make_cookie
from scrapy_sessions.formats.fields import Fields
from scrapy_sessions.models import Cookie

_NAME = "cookie:"
_PROMISES = ("__host-", "__secure-")
_HEADER = re.compile(r"\s*(?:cookie|set-cookie2?):", re.IGNORECASE)
# The beginning of a pasted program, command or sentence, which is not the name of a cookie.
_NO_NAME = re.compile(r"""[^=;]*[\s"'`(){}<>\\]""")
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
# Attributes of Set-Cookie that are not names of cookies, as Path and Domain may be.
_ATTRIBUTE = re.compile(
    r"secure|httponly|partitioned|samesite=(?:lax|strict|none)|max-age=-?\d+|expires=\w+, .* gmt", re.IGNORECASE
)
_QUOTES = frozenset({"'", '"', "`"})
_NOT_SENT = "this is a Set-Cookie header, of a response: copy the Cookie header of a request"


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't a Cookie header; ``None`` if it is. Without ``Cookie:`` it needs the user's site."""
    text = source.text
    if _HEADER.match(text):
        return None
    if _HTML.match(text):
        return "it is an HTML page: the browser saved the page, and not its cookies"
    line = _unquoted(text.strip())
    if "=" not in line or "\n" in line or _NO_NAME.match(line):
        return "it isn't one line of name=value"
    if not reading.placed:
        return "it doesn't begin with Cookie:, and --url, its site, is missing"
    return None


def read(source: Source, reading: Reading) -> Contents:
    """Return the cookies of a header, with or without its name, or of ``document.cookie``, with or without quotes."""
    text = source.text
    kind = _HEADER.match(text)
    if kind is not None and kind[0].strip().lower() != _NAME:
        raise FormatError("the header", _NOT_SENT)
    if _HTML.match(text):
        raise FormatError("the file", "it is an HTML page: the browser saved the page, and not its cookies")
    domain, secure = reading.site()
    lines = [line.strip() for line in text.split("\n")]
    filled = [number for number, line in enumerate(lines, 1) if line]
    if len(filled) > 1:
        raise FormatError(f"line {filled[1]}", "a Cookie header is one line")
    header = lines[filled[0] - 1] if filled else ""
    named = header[: len(_NAME)].lower() == _NAME
    header = header[len(_NAME) :] if named else _unquoted(header)
    for number, pair in enumerate(header.split(";"), 1):
        if number > 1 and _ATTRIBUTE.fullmatch(pair.strip(" \t")):
            raise FormatError(f"cookie {number}", f"it is an attribute, and {_NOT_SENT}")
    return sent_cookies(parse_pairs(header), domain, secure, reading, url=reading.url)


def _unquoted(line: str) -> str:
    """Return *line* without the quotation marks that a browser's console prints around it."""
    return line[1:-1] if len(line) > 1 and line[0] == line[-1] and line[0] in _QUOTES else line


def parse_pairs(header: str) -> list[tuple[str, str, str]]:
    """Return place, name and value of each cookie of the ``Cookie`` header *header*; the name may be empty."""
    pairs = []
    for number, pair in enumerate(header.split(";"), 1):
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair
        name, value = name.strip(" \t"), value.strip(" \t")
        if name or value:
            pairs.append((f"cookie {number}", name, value))
    return pairs


def sent_cookies(
    pairs: Iterable[tuple[str, str, str]], domain: str, secure: bool, reading: Reading, *, url: str | None
) -> Contents:
    """Return the cookies of *pairs* (place, name, value) that a browser sent to *domain*.

    They get the path ``/`` and no expiry, because the other attributes are unknown.
    """
    cookies: dict[str, Cookie] = {}
    for place, name, value in pairs:
        with reading.skipping:
            cookie = make_cookie(
                place,
                reading,
                name=name,
                value=value,
                domain=domain,
                # A browser sent it, so that it has what its prefix requires.
                secure=secure or name.lower().startswith(_PROMISES),
            )
            cookies.setdefault(
                name, cookie
            )  # of two, the one with the longer path is first, which is the one that sites read
    guessed = {(each.domain, each.name): url or f"https://{each.domain}/" for each in cookies.values()}
    return Contents(list(cookies.values()), guessed=guessed)


def pairs_misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't a JSON object of names and values; ``None`` if it is."""
    content = source.document
    kinds = set(map(type, content.values())) if isinstance(content, dict) else set()
    if str in kinds and kinds <= {str, int}:
        return None
    return "it is no object of names and texts"


def read_pairs(source: Source, reading: Reading) -> Contents:
    """Return the cookies of a JSON object of names and values, such as requests' ``dict_from_cookiejar()`` makes."""
    fields = Fields(source.document, "")
    domain, secure = reading.site()
    pairs = [
        (f"entry {number}", name, str(value) if type(value) is int else fields.text(name))
        for number, (name, value) in enumerate(fields.content.items(), 1)
    ]
    return sent_cookies(pairs, domain, secure, reading, url=reading.url)


def dump(cookies: Iterable[Cookie], *, url: str) -> str:
    """Return the line ``Cookie: …`` of a request to *url* with *cookies*, empty if none of them is sent there.

    Raises :exc:`~scrapy_sessions.exceptions.FormatError` for a URL without a host.
    """
    host_of(url, "the URL")
    header = SessionCookieJar(cookies).header(urlsplit(url))
    return "" if header is None else f"Cookie: {decode(header)}\n"
