"""What is fuzzed: each target takes any bytes, and raises only for a fault of ours.

``python -m tests.support.fuzzing TARGET -runs=1000000`` runs one of them under atheris, which looks for inputs that
reach new code; the tests change good inputs at random.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from scrapy.settings import Settings

from scrapy_sessions import PersistentSession, SessionConfigurationError
from scrapy_sessions.commands import SessionsCommand
from scrapy_sessions.cookies import REFUSAL_REASONS, SessionCookieJar
from scrapy_sessions.cookies.hosts import is_sharable
from scrapy_sessions.cookies.parse import encode as cookie_bytes
from scrapy_sessions.exceptions import CorruptRecord, FormatError, NewerSchema
from scrapy_sessions.formats.contents import Reading, Source
from scrapy_sessions.formats.registry import detect, read
from scrapy_sessions.models import Cookie
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage.codec import decode, encode

__all__ = ["SEEDS", "TARGETS", "check_cookie", "mutations"]

_NOW = 1_700_000_000.0
_URLS = [
    *("https://shop.example/", "http://www.shop.example/a/b", "https://shop.co.uk", "wss://co.uk/;p", "https://[::1]/"),
    *("http://localhost:8000/", "http://127.0.0.1/", "data:,", "http://\u00fc.example/", "http://a.shop.example:81/x"),
]


def check_cookie(cookie: Cookie, scheme: str, explicit: bool = False) -> None:
    """*cookie*, taken from a response over *scheme*, is one that RFC 6265bis allows."""
    name, value = cookie_bytes(cookie.name), cookie_bytes(cookie.value)
    assert 0 < len(name) + len(value) <= 4096
    assert not set(name + value) & {*range(9), *range(10, 32), 127, ord(";")}
    assert cookie.path.startswith("/")
    assert cookie.host_only or is_sharable(cookie.domain)
    assert not cookie.secure or explicit or scheme in {"https", "wss"}
    assert cookie.secure or cookie.partition_key is None
    assert cookie.expires is None or cookie.expires > _NOW
    shown = (cookie.name or cookie.value).lower()
    if shown.startswith("__secure-"):
        assert cookie.name
        assert cookie.secure
    if shown.startswith("__host-"):
        assert cookie.name
        assert (cookie.secure, cookie.host_only, cookie.path) == (True, True, "/")


def set_cookie(content: bytes) -> None:
    """``Set-Cookie`` headers, one a line, of a response from a URL that the first byte chooses."""
    url = urlsplit(_URLS[content[0] % len(_URLS)] if content else _URLS[0])
    refusals: list[str] = []
    jar = SessionCookieJar(clock=lambda: _NOW, on_refused=refusals.append)
    headers = content[1:].split(b"\n")
    jar.store(headers, url)
    assert set(refusals) <= set(REFUSAL_REASONS)
    assert len(jar) + len(refusals) <= len(headers)
    host = (url.hostname or "").encode("idna").decode() if url.hostname else ""
    for cookie in jar:
        check_cookie(cookie, url.scheme)
        assert host == cookie.domain or (not cookie.host_only and host.endswith(f".{cookie.domain}"))
    header = jar.header(url)
    assert header is None or not set(header) & {*range(9), *range(10, 32), 127}
    records = [Cookie.model_validate_json(cookie.model_dump_json()) for cookie in jar]
    assert SessionCookieJar(records, clock=lambda: _NOW).dump() == jar.dump()


def record(content: bytes) -> None:
    """The body of a stored record. What can be read can be written and read again."""
    row = encode(_record())._replace(body=content)
    try:
        read_ = decode(row)
    except (CorruptRecord, NewerSchema) as fault:
        assert "hunter2" not in str(fault)  # noqa: PT017  # no test: a target
        return
    assert decode(encode(read_)) == read_


def file(content: bytes) -> None:
    """A file to import, of any format."""
    source, how = Source(content), Reading(now=_NOW, url="https://www.shop.example/")
    try:
        contents = read(detect(source, how), source, how)
    except (FormatError, NewerSchema) as fault:
        assert "\n" not in str(fault)  # noqa: PT017
    else:
        assert all(cookie.domain for cookie in contents.cookies)


def arguments(content: bytes) -> None:
    """Arguments of ``scrapy sessions``, one a line."""
    words = content.decode(errors="surrogateescape").split("\n")
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            _parser().parse_args(words)
        except SystemExit as end:
            assert end.code in {0, 2}  # noqa: PT017
    assert "Traceback" not in said.getvalue()


def settings(content: bytes) -> None:
    """The settings of a project, as JSON of any shape."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(values, dict):
        with contextlib.suppress(SessionConfigurationError):
            SessionsSettings.from_settings(Settings({f"SESSIONS_{name}": value for name, value in values.items()}))


def _record() -> PersistentSession:
    cookies = [Cookie(name="sid", value="hunter2", domain="shop.example", secure=True, expires=_NOW + 9)]
    return PersistentSession(
        session_id="alice",
        namespace="shop",
        start_time=_NOW,
        last_activity=_NOW,
        idle_timeout=0.0,
        revision=3,
        cookies=cookies,
        data={"token": {"deep": [1, 2.5, None, "hunter2"]}},
        actions_performed=["came", "went"],
    )


@cache
def _parser() -> argparse.ArgumentParser:
    command = SessionsCommand()
    command.settings = Settings()
    parser = argparse.ArgumentParser(conflict_handler="resolve")  # as Scrapy's
    command.add_options(parser)
    return parser


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (set_cookie, record, file, arguments, settings)
}

SEEDS: dict[str, list[bytes]] = {
    "set_cookie": [
        b"\x00sid=hunter2; Domain=shop.example; Path=/a; Secure; HttpOnly; SameSite=Lax; Max-Age=99",
        b"\x01__Host-a=b; Path=/; Secure\n__Secure-x=1; Secure; Partitioned\n=; Domain=co.uk",
        b"\x02a=b; Expires=Wed, 09 Jun 2032 10:18:14 GMT; Domain=.example\nb",
    ],
    "record": [encode(_record()).body, encode(_record()).body.replace(b"null", b"7")],
    "file": [
        b"# Netscape HTTP Cookie File\n.shop.example\tTRUE\t/\tTRUE\t1900000000\tsid\thunter2\n",
        b'{"cookies": [{"name": "a", "value": "hunter2", "domain": ".shop.example", "expires": -1}], "origins": []}',
        b'{"log": {"entries": [{"request": {"url": "https://a.example/", "cookies": []}, "response": {}}]}}',
        b"curl https://shop.example/ -H 'Cookie: a=b' -b 'c=hunter2'",
        b"a=b; c=d",
    ],
    "arguments": [
        b"list\n--pool\nshop\n--older-than\n2h\n--sort\nid\n--json",
        b"show\nalice\n--history\n5\n--store\ns.db",
        b"import\nf.har\n--session\nalice\n--url\nhttps://a.example/",
        b"export\n--all\n--format\nnetscape\n-o\nx",
        b"stats\n--since\n1d\n--by\nhour\n--watch\n--interval\n2",
        b"key\nrotate",
    ],
    "settings": [
        b'{"POOLS": {"shop": {"size": 2, "profiles": ["a"]}}, "PROFILES": {"a": {"user_agent": "x"}}, "MAX_USES": 3}',
        b'{"POOLS": {"shop": {"size": 2, "profiles": ["a"]}}, "PROFILES": {"\\ud800a": {"user_agent": "x"}}}',
        b'{"STORE": "sqlite:///x", "IDLE_TIMEOUT": 60, "EXPIRED_STATUSES": [401], "STICKY": true, "DEFAULT_ID": "a"}',
    ],
}

_PIECES = [
    *(b"", b"\x00", b"\xff", b"\n", b";", b"=", b",", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b":", b"-", b"--"),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9223372036854775808", b'"\\ud800"', b"[" * 300, b"x" * 5000),
    *(b"; Secure", b"; Domain=", b"co.uk", b"; Path=/", b"; Max-Age=", b"__Host-", b"expires", b"schema_version"),
    *(b"sid", b"cookies", b"data", b"revision", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"list", b"--help", b"-o"),
]


def mutations(name: str, cases: int, seed: int) -> Iterator[bytes]:
    """*cases* inputs of the target *name*: seeds with a few random changes each."""
    source = random.Random(seed)
    seeds = SEEDS[name]
    for _ in range(cases):
        content = source.choice(seeds)
        for _ in range(source.randint(1, 4)):
            place = source.randrange(len(content) + 1)
            end = min(len(content), place + source.choice((0, 0, 1, 4, 20)))
            other = source.choice(seeds)
            start = source.randrange(len(other))
            piece = source.choice((source.choice(_PIECES), source.randbytes(2), other[start : start + 12]))
            content = content[:place] + piece + content[end:]
        yield content


def main(words: Sequence[str]) -> None:
    """Fuzz the target that the first of *words* names; the others are libFuzzer's options."""
    import atheris  # noqa: PLC0415  # installed by the env long only

    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[words[1]]):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([words[0], *words[2:], corpus], TARGETS[words[1]])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
