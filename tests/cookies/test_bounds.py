"""A jar is bounded: what leaves is what was expired, then what was used least recently."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.index import MAX_COOKIES, MAX_COOKIES_PER_DOMAIN

URL = urlsplit("https://shop.example/")


def full_jar(refusals: Counter[str] | None = None, **cookie: str) -> tuple[SessionCookieJar, list[float]]:
    """A jar with as many cookies of one domain as it may have, c0 to c179, and its clock."""
    now = [1000.0]
    counter = Counter[str]() if refusals is None else refusals
    jar = SessionCookieJar(clock=lambda: now[0], on_refused=lambda reason: counter.update([reason]))
    jar.store([f"c{number}=1{cookie.get(f'c{number}', '')}" for number in range(MAX_COOKIES_PER_DOMAIN)], URL)
    return jar, now


def test_bound_per_domain() -> None:
    """One cookie too many of a domain makes the one set first leave, and is told."""
    refusals = Counter[str]()
    jar, _ = full_jar(refusals)
    assert refusals == {}
    jar.store([b"new=1"], URL)
    assert len(jar) == MAX_COOKIES_PER_DOMAIN
    assert "c0" not in jar
    assert "new" in jar
    assert refusals == {"evicted": 1}


def test_another_domain_has_its_own_bound() -> None:
    """A full domain doesn't touch another one."""
    jar, _ = full_jar()
    jar.set("new", "1", domain="www.shop.example")
    assert len(jar) == MAX_COOKIES_PER_DOMAIN + 1


def test_expired_leave_first() -> None:
    """Expired cookies make room, and are no eviction."""
    refusals = Counter[str]()
    jar, now = full_jar(refusals, c7="; Max-Age=5")
    now[0] += 5
    jar.store([b"new=1"], URL)
    assert "c0" in jar
    assert len(jar) == MAX_COOKIES_PER_DOMAIN
    assert refusals == {}


def test_setting_is_a_use() -> None:
    """A cookie that came again, unchanged, outlives one that didn't."""
    jar, _ = full_jar()
    jar.store([b"c0=1", b"new=1"], URL)
    assert "c0" in jar
    assert "c1" not in jar


@pytest.mark.parametrize("others", [{"path": "/other"}, {"secure": True}])
def test_sending_is_a_use(others: dict[str, Any]) -> None:
    """A cookie that was sent outlives those that weren't, also when its header was kept from before."""
    jar = SessionCookieJar()
    jar.set("sent", "1", domain="shop.example")
    for number in range(MAX_COOKIES_PER_DOMAIN - 1):
        jar.set(f"c{number}", "1", domain="shop.example", **others)
    for _ in range(2):
        assert jar.header(urlsplit("http://shop.example/")) == b"sent=1"
    jar.set("new", "1", domain="shop.example")
    assert "sent" in jar
    assert "c0" not in jar


def test_removed_cookies_count_no_more() -> None:
    """What was deleted takes no place in the jar."""
    jar = SessionCookieJar()
    for number in range(MAX_COOKIES):
        jar.set("a", "1", domain=f"h{number}.example")
    jar.clear("h0.example")
    jar.set("new", "1", domain="shop.example")
    assert len(jar) == MAX_COOKIES


def test_bound_of_the_jar() -> None:
    """One cookie too many in all makes a tenth leave at once, those set first."""
    refusals = Counter[str]()
    jar = SessionCookieJar(on_refused=lambda reason: refusals.update([reason]))
    for number in range(MAX_COOKIES):
        jar.set("a", "1", domain=f"h{number}.example")
    assert len(jar) == MAX_COOKIES
    jar.set("new", "1", domain="shop.example")
    assert len(jar) == MAX_COOKIES * 9 // 10
    assert jar.get("a", domain="h300.example") is None
    assert jar.get("a", domain="h301.example") == "1"
    assert refusals == {"evicted": 301}


def test_restore_keeps_the_bound() -> None:
    """A record with too many cookies fills the jar, no more."""
    jar, _ = full_jar()
    cookies = [cookie.model_copy(update={"path": path}) for cookie in jar for path in ("/", "/a")]
    assert len(SessionCookieJar(cookies, clock=lambda: 1000.0)) == MAX_COOKIES_PER_DOMAIN


def test_memory() -> None:
    """A jar with ten cookies, restored from a record and at rest, takes less than 6 kB."""
    jar = SessionCookieJar()
    jar.store([f"cookie{number}={'x' * 32}; Path=/; Max-Age=3600" for number in range(10)], URL)
    records = [[cookie.model_dump_json() for cookie in jar]] * 50
    jars: list[SessionCookieJar] = []
    cookie_type = type(jar.dump()[0])
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        jars.extend(SessionCookieJar(map(cookie_type.model_validate_json, record)) for record in records)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert [len(each) for each in jars] == [10] * 50
    assert taken / len(jars) < 6000
