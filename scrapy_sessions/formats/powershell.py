"""PowerShell's ``Invoke-WebRequest``, as Chromium copies a request."""

from __future__ import annotations

import re

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.contents import Contents, Reading, host_of
from scrapy_sessions.formats.cookie_fields import make_cookie
from scrapy_sessions.formats.cookie_header import parse_pairs, sent_cookies
from scrapy_sessions.formats.request_headers import take_headers

_COMMAND = re.compile(
    r"^\s*(?:\$\w+\s*=\s*)?Invoke-(?:WebRequest|RestMethod)\b|^\s*\$session\.", re.IGNORECASE | re.MULTILINE
)
_STRING = r'"(?:[^"`]|`.|"")*"'
_COOKIE = re.compile(rf"System\.Net\.Cookie\(({_STRING}(?:\s*,\s*{_STRING})*)\)", re.IGNORECASE | re.DOTALL)
_AGENT = re.compile(rf"(?:\.UserAgent\s*=|-UserAgent)\s*({_STRING})", re.IGNORECASE | re.DOTALL)
_URI = re.compile(rf"-Uri\s+({_STRING})", re.IGNORECASE | re.DOTALL)
_HEADERS = re.compile(rf"-Headers\s+@\{{((?:\s*{_STRING}\s*=\s*{_STRING}\s*;?)*)\s*\}}", re.IGNORECASE | re.DOTALL)
_PAIR = re.compile(rf"({_STRING})\s*=\s*({_STRING})", re.DOTALL)
_TEXT = re.compile(_STRING, re.DOTALL)
_ESCAPE = re.compile(r"(?:\$\(\[char\]\d{1,5}\))+|`(.)|\"\"", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\d+")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


def is_powershell(text: str) -> bool:
    """Whether *text* looks like a request of PowerShell."""
    return _COMMAND.search(text) is not None and _URI.search(text) is not None


def read_powershell(text: str, reading: Reading) -> Contents:
    """Return cookies, user agent, language and other headers of the request in *text*."""
    found = _URI.search(text)
    if found is None:
        raise FormatError("the command", "it has no -Uri")
    url = _plain(found[1])
    host, secure = host_of(url, "the URL of the command")
    headers: list[tuple[str, str]] = []
    sent: list[tuple[str, str, str]] = []
    block = _HEADERS.search(text)
    for pair in _PAIR.finditer(block[1] if block is not None else ""):
        name, value = _plain(pair[1]), _plain(pair[2])
        if name.lower() == "cookie":
            sent += parse_pairs(value)
        else:
            headers.append((name, value))
    contents = sent_cookies(sent, host, secure, reading, url=url)
    agent = _AGENT.search(text)
    if agent is not None:
        headers.append(("User-Agent", _plain(agent[1])))
    take_headers(contents, headers, url)
    guessed = dict(contents.guessed)
    for number, each in enumerate(_COOKIE.finditer(text), 1):
        fields = [_plain(field) for field in _TEXT.findall(each[1])]
        place = f"cookie {number}"
        with reading.skipping:
            if len(fields) < 2:
                raise FormatError(place, "it needs a name and a value")
            name, value, path, domain = [*fields, *["/", host][len(fields) - 2 :]][:4]
            cookie = make_cookie(place, reading, name=name, value=value, path=path, domain=domain, secure=secure)
            contents.cookies.append(cookie)
            guessed[cookie.domain, name] = url  # the path is always "/", flags and expiry are missing
    contents.guessed = guessed
    return contents


def _plain(quoted: str) -> str:
    """Return the content of a string in double quotes, with its escapes resolved."""
    return _ESCAPE.sub(_resolve, quoted[1:-1])


def _resolve(found: re.Match[str]) -> str:
    if found[0].startswith("$"):  # UTF-16 code units, two of which may be one character
        units = b"".join((int(code) & 0xFFFF).to_bytes(2, "little") for code in _CODE.findall(found[0]))
        return units.decode("utf-16-le", "replace")
    letter = found[1]
    return '"' if letter is None else _LETTERS.get(letter, letter)
