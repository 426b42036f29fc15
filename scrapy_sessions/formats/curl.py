"""curl commands that browsers copy for bash and for Windows' cmd, and that ``scrapy sessions curl`` prints.

Scrapy's own ``curl_to_request_kwargs`` is not used: it removes the quotes of cookie values, drops cookies with unusual
characters, and supports neither ``$'…'``, nor the carets of cmd, nor ``--url`` and ``--user-agent``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from scrapy_sessions.exceptions import FormatError
from scrapy_sessions.formats.command_line import split_bash, split_cmd
from scrapy_sessions.formats.contents import Contents, Reading, Source, host_of
from scrapy_sessions.formats.cookie_header import parse_pairs, sent_cookies
from scrapy_sessions.formats.fields import names
from scrapy_sessions.formats.powershell import is_powershell, read_powershell
from scrapy_sessions.formats.request_headers import take_headers
from scrapy_sessions.safe_repr import safe_repr

_COMMAND = re.compile(r"\s*(?:[$%>]\s+)?curl(?:\.exe)?\s", re.IGNORECASE)
_CMD = re.compile(r'\s*curl(?:\.exe)?\s+(?:-\S+\s+)*\^"|[^\n]*[ "]\^\r?\n', re.IGNORECASE)
# The options of curl with a value, which must not be read as the URL.
_VALUED = names(
    "--request --data --data-raw --data-binary --data-ascii --data-urlencode --json --form --form-string --user "
    "--proxy --proxy-user --proxy-header --output --referer --user-agent --cookie --cookie-jar --header --url --quote "
    "--max-time --connect-timeout --resolve --connect-to --cacert --capath --cert --cert-type --key --key-type --pass "
    "--write-out --upload-file --range --retry --retry-delay --retry-max-time --limit-rate --max-redirs --interface "
    "--max-filesize --ciphers --tls13-ciphers --tls-max --dns-servers --doh-url --noproxy --oauth2-bearer --config "
    "--aws-sigv4 --socks5 --socks5-hostname --socks4 --socks4a --preproxy --unix-socket --dump-header --trace --hsts "
    "--trace-ascii --time-cond --speed-limit --speed-time --stderr --netrc-file --alt-svc --local-port --continue-at "
    "--keepalive-time"
)
_SHORT = {
    letter: f"--{name}"
    for letter, name in re.findall(
        r"(\w)=(\S+)",
        "A=user-agent b=cookie c=cookie-jar d=data D=dump-header e=referer E=cert F=form H=header K=config m=max-time "
        "o=output Q=quote r=range T=upload-file u=user U=proxy-user w=write-out x=proxy X=request y=speed-time "
        "Y=speed-limit z=time-cond C=continue-at",
    )
}


class _Request(NamedTuple):
    """The request of one command."""

    url: str
    headers: list[tuple[str, str]]
    cookies: list[str]
    proxy: str | None

    def __repr__(self) -> str:
        return safe_repr(self)


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* is neither a curl command nor one of PowerShell; ``None`` if it is."""
    if _COMMAND.match(source.text) or is_powershell(source.text):
        return None
    return "it begins with neither curl nor Invoke-WebRequest"


def read(source: Source, reading: Reading) -> Contents:
    """Return cookies, user agent, language and other identity headers of the command, or of all commands, in a text."""
    text = source.text
    if is_powershell(text):
        return read_powershell(text, reading)
    if not _COMMAND.match(text):
        raise FormatError("the command", "it must begin with curl")
    contents = Contents()
    found: dict[tuple[str, str], int] = {}
    for words in split_cmd(text) if _CMD.match(text) else split_bash(text):
        start = next((place for place, word in enumerate(words, 1) if word.lower() in {"curl", "curl.exe"}), None)
        if start is not None:
            _merge(contents, _contents(_request(words[start:]), reading), found)
    return contents


def _merge(contents: Contents, more: Contents, found: dict[tuple[str, str], int]) -> None:
    """Add *more* to *contents*; of two cookies with one domain and name the later one is kept."""
    for cookie in more.cookies:
        place = found.setdefault((cookie.domain, cookie.name), len(contents.cookies))
        contents.cookies[place : place + 1] = [cookie]
    contents.guessed = {**contents.guessed, **more.guessed}
    for origin, headers in more.headers.items():
        contents.headers.setdefault(origin, {}).update(headers)
    contents.user_agent = contents.user_agent or more.user_agent
    contents.language = contents.language or more.language
    contents.proxy = contents.proxy or more.proxy
    contents.notes += [note for note in more.notes if note not in contents.notes]


def _request(words: list[str]) -> _Request:
    url = proxy = None
    headers: list[tuple[str, str]] = []
    cookies: list[str] = []
    for option, value in _options(words):
        if option in {"", "--url"}:
            url = url or value
        elif option == "--header":
            name, colon, content = value.partition(":")
            if not colon:
                name, content = value.removesuffix(";"), ""  # curl's way to send an empty header
            if name.strip().lower() == "cookie":
                cookies.append(content.strip())
            else:
                headers.append((name.strip(), content.strip()))
        elif option == "--cookie" and "=" in value:  # else it names a file
            cookies.append(value)
        elif option == "--user-agent":
            headers.append(("User-Agent", value))
        elif option == "--user":
            headers.append(("Authorization", f"Basic {b64encode(value.encode(errors='replace')).decode()}"))
        elif option == "--oauth2-bearer":
            headers.append(("Authorization", f"Bearer {value}"))
        elif option == "--proxy":
            proxy = value
    if not url:
        raise FormatError("the command", "it has no URL")
    return _Request(url if "://" in url else f"http://{url}", headers, cookies, proxy)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each option by its long name with its value, and other words under an empty name."""
    following = iter(words)
    for word in following:
        if word.startswith("--"):
            yield word, next(following, "") if word in _VALUED else ""
        elif word.startswith("-") and len(word) > 1:
            for number, letter in enumerate(word[1:], 2):
                if letter in _SHORT:
                    yield _SHORT[letter], word[number:] or next(following, "")
                    break
        else:
            yield "", word


def _contents(request: _Request, reading: Reading) -> Contents:
    host, secure = host_of(request.url, "the URL of the command")
    parts = urlsplit(request.url)
    url = parts._replace(path=parts.path or "/", query="", fragment="").geturl()
    contents = sent_cookies(
        [pair for header in request.cookies for pair in parse_pairs(header)], host, secure, reading, url=url
    )
    take_headers(contents, request.headers, request.url)
    contents.proxy = request.proxy
    return contents
