"""A ``Cookie`` header has a largest size: what a site or its neighbours plant costs no login."""

from __future__ import annotations

import logging
from collections import Counter
from urllib.parse import urlsplit

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.header_cache import MAX_HEADER_SIZE
from scrapy_sessions.storage import MemoryStore

URL = urlsplit("https://shop.example/account")
SECRET = "hunter2"
LARGE = f"{SECRET}{'x' * 3000}"


def names_in(header: bytes | None) -> list[str]:
    """The names of the cookies in *header*, in its order."""
    assert header is not None
    return [pair.partition("=")[0] for pair in header.decode().split("; ")]


def test_a_subdomain_cannot_plant_a_larger_header() -> None:
    """A hundred large cookies of a neighbour leave the header within its bound, and the login in it."""
    jar = SessionCookieJar()
    jar.store([b"sid=1; Secure; HttpOnly"], URL)
    jar.store(
        [f"junk{n}={LARGE}; Domain=shop.example; Secure" for n in range(100)], urlsplit("https://evil.shop.example/")
    )
    header = jar.header(URL)
    assert header is not None
    assert MAX_HEADER_SIZE - len(LARGE) - 20 < len(header) <= MAX_HEADER_SIZE
    assert names_in(header) == ["sid", *(f"junk{n}" for n in range(5))]


@pytest.mark.parametrize("size", [MAX_HEADER_SIZE, MAX_HEADER_SIZE + 1])
def test_a_header_of_the_largest_size_is_complete(size: int) -> None:
    """A header of exactly 16 KiB is sent; with one byte more, the newest cookie is left out."""
    jar = SessionCookieJar()
    values = ["x" * 3996] * 4
    last = size - len("; ".join(f"c{n}={value}" for n, value in enumerate(values))) - len("; c4=")
    jar.store([f"c{n}={value}" for n, value in enumerate([*values, "x" * last])], URL)
    header = jar.header(URL)
    assert header is not None
    assert len(header) == (size if size == MAX_HEADER_SIZE else size - last - len("; c4="))


def test_what_fits_beside_a_large_cookie_is_sent() -> None:
    """A small cookie is sent though an older large one didn't fit."""
    jar = SessionCookieJar()
    jar.store([*(f"big{n}={LARGE}" for n in range(10)), "small=1"], URL)
    assert names_in(jar.header(URL)) == ["big0", "big1", "big2", "big3", "big4", "small"]


@pytest.mark.parametrize(
    ("login", "planted", "planter"),
    [
        ("sid=1; Secure", "; Domain=shop.example; Secure", "https://evil.shop.example/"),
        ("sid=1", "; Domain=shop.example; Secure", "https://evil.shop.example/"),
        ("sid=1; Secure; Domain=shop.example", "", "http://shop.example/"),
        ("sid=1; Secure; Domain=shop.example", "; Domain=shop.example", "http://evil.shop.example/"),
    ],
)
def test_a_login_is_preferred_to_what_is_set_later(login: str, planted: str, planter: str) -> None:
    """Neither a neighbour nor an unencrypted connection pushes a login out of the header."""
    jar = SessionCookieJar()
    jar.store([login], URL)
    jar.store([f"junk{n}={LARGE}{planted}; Path=/account" for n in range(50)], urlsplit(planter))
    assert "sid" in names_in(jar.header(URL))


def test_secure_host_only_cookies_come_before_planted_ones() -> None:
    """A login that is set after the header was filled is sent: only the host itself sets Secure host-only cookies."""
    jar = SessionCookieJar()
    jar.store(
        [f"junk{n}={LARGE}; Domain=shop.example; Secure" for n in range(50)], urlsplit("https://evil.shop.example/")
    )
    jar.store([f"more{n}={LARGE}" for n in range(50)], urlsplit("http://shop.example/"))
    jar.store([b"__Host-sid=1; Secure; Path=/"], URL)
    assert "__Host-sid" in names_in(jar.header(URL))


def test_another_path_has_its_own_header() -> None:
    """Cookies of a path that isn't requested take no space."""
    jar = SessionCookieJar()
    jar.store([f"a{n}={LARGE}; Path=/a" for n in range(5)] + [f"b{n}={LARGE}; Path=/b" for n in range(5)], URL)
    assert len(names_in(jar.header(urlsplit("https://shop.example/a")))) == 5
    assert len(names_in(jar.header(urlsplit("https://shop.example/b")))) == 5


async def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING per session and site names the cookies that are left out, without values, and is counted."""
    caplog.set_level(logging.DEBUG)
    counts: Counter[str] = Counter()
    manager = SessionManager(store=MemoryStore(), namespace="shop", on_event=lambda name, n: counts.update({name: n}))
    async with manager:
        for session_id in ("alice", "bob"):
            session = await manager.get(session_id)
            for number in range(3):  # each change builds the header again
                session.cookies.store([f"c{n}={number}{LARGE}" for n in range(20)], URL)
                session.cookies.header(URL)
                session.cookies.header(urlsplit("https://shop.example:8443/"))
            if session_id == "bob":
                session.cookies.store([f"c{n}={LARGE}" for n in range(20)], urlsplit("https://news.example/"))
                session.cookies.header(urlsplit("https://news.example/"))
    lines = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [("'alice'" in line, "shop.example" in line) for line in lines] == [
        (True, True),
        (False, True),
        (False,) * 2,
    ]
    assert "15 of them aren't sent" in lines[0]
    assert "'c5', 'c6'" in lines[0]
    assert SECRET not in caplog.text
    assert counts["cookies/left_out"] == 3


async def test_a_header_that_fits_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """A session with a few large cookies is no reason for a warning."""
    async with SessionManager(store=MemoryStore(), namespace="shop") as manager:
        session = await manager.get("alice")
        session.cookies.store([f"c{n}={LARGE}" for n in range(5)], URL)
        assert len(names_in(session.cookies.header(URL))) == 5
    assert caplog.records == []
