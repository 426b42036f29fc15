"""A jar is bounded: expired cookies leave first, then those without Secure, then the least recently used ones."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.index import MAX_COOKIES, MAX_COOKIES_PER_SITE

URL = urlsplit("https://shop.example/")


def full_jar(refusals: Counter[str] | None = None, **cookie: str) -> tuple[SessionCookieJar, list[float]]:
    """A jar with as many cookies of one domain as it may have, c0 to c179, and its clock."""
    now = [1000.0]
    counter = Counter[str]() if refusals is None else refusals
    jar = SessionCookieJar(clock=lambda: now[0], on_refused=lambda reason: counter.update([reason]))
    jar.store([f"c{number}=1{cookie.get(f'c{number}', '')}" for number in range(MAX_COOKIES_PER_SITE)], URL)
    return jar, now


def test_bound_per_site() -> None:
    """One cookie too many of a site evicts the one set first, which is reported."""
    refusals = Counter[str]()
    jar, _ = full_jar(refusals)
    assert refusals == {}
    jar.store([b"new=1"], URL)
    assert len(jar) == MAX_COOKIES_PER_SITE
    assert "c0" not in jar
    assert "new" in jar
    assert refusals == {"evicted": 1}


def test_another_site_has_its_own_bound() -> None:
    """A full site doesn't touch another one."""
    jar, _ = full_jar()
    jar.set("new", "1", domain="news.example")
    assert len(jar) == MAX_COOKIES_PER_SITE + 1


def test_subdomains_share_the_bound_of_their_site() -> None:
    """A site with thousands of subdomains has no more cookies than one with a single host."""
    jar, _ = full_jar()
    for number in range(MAX_COOKIES + 500):
        jar.set("a", "1", domain=f"h{number}.shop.example")
    assert len(jar) == MAX_COOKIES_PER_SITE


def test_users_of_a_public_suffix_are_sites_of_their_own() -> None:
    """The hosts below a suffix that many share, such as github.io, don't share a bound."""
    jar = SessionCookieJar()
    for number in range(2 * MAX_COOKIES_PER_SITE):
        jar.set("a", "1", domain=f"user{number}.github.io")
    assert len(jar) == 2 * MAX_COOKIES_PER_SITE


def test_a_site_with_many_subdomains_evicts_no_login_elsewhere() -> None:
    """A page that plants cookies on thousands of subdomains leaves the logins of other sites."""
    jar = SessionCookieJar()
    for number in range(100):
        jar.store([b"sid=1; Secure", b"theme=dark"], urlsplit(f"https://site{number}.example/"))
    for number in range(MAX_COOKIES):
        jar.store([b"junk=1; Secure", b"more=1"], urlsplit(f"https://h{number}.evil.example/"))
    assert [jar.get("sid", domain=f"site{number}.example") for number in range(100)] == ["1"] * 100
    assert [jar.get("theme", domain=f"site{number}.example") for number in range(100)] == ["dark"] * 100


def test_secure_cookies_outlive_others() -> None:
    """In a full site the cookie without Secure leaves, however recently it was used."""
    jar = SessionCookieJar()
    for number in range(MAX_COOKIES_PER_SITE - 1):
        jar.set(f"c{number}", "1", domain="shop.example", secure=True)
    jar.set("plain", "1", domain="shop.example")
    jar.store([b"plain=1", b"new=1; Secure"], URL)
    assert "plain" not in jar
    assert {"new", "c0"} <= {cookie.name for cookie in jar}


@pytest.mark.parametrize("host", ["shop.example", "www.shop.example", "h{number}.shop.example"])
def test_an_unencrypted_response_evicts_no_secure_cookie(host: str) -> None:
    """However many cookies come over plain HTTP, the Secure ones of the site stay, and can't be set over HTTP then."""
    jar = SessionCookieJar()
    for number in range(MAX_COOKIES_PER_SITE):
        jar.set(f"c{number}", "1", domain=".shop.example", secure=True)
    for number in range(2 * MAX_COOKIES_PER_SITE):
        jar.store([f"junk{number}=1"], urlsplit(f"http://{host.format(number=number)}/"))
    jar.store([f"c{number}=evil" for number in range(MAX_COOKIES_PER_SITE)], urlsplit("http://shop.example/"))
    assert [(cookie.name, cookie.value) for cookie in jar] == [(f"c{n}", "1") for n in range(MAX_COOKIES_PER_SITE)]


def test_an_unencrypted_response_evicts_no_secure_cookie_of_a_full_jar() -> None:
    """A jar that is full of the Secure cookies of many sites drops what comes over plain HTTP."""
    jar = SessionCookieJar()
    for number in range(MAX_COOKIES):
        jar.set("sid", "1", domain=f"site{number}.example", secure=True)
    for number in range(20):
        jar.store([b"junk=1"], urlsplit(f"http://evil{number}.example/"))
    assert len(jar) == MAX_COOKIES
    assert all(cookie.name == "sid" for cookie in jar)


def test_a_full_jar_takes_from_the_largest_sites_first() -> None:
    """In a jar that is full, cookies of a site beyond its 50th leave before the only cookie of another site."""
    jar = SessionCookieJar()
    for number in range(1000):
        jar.set("sid", "1", domain=f"site{number}.example")
    for site in range(20):
        for number in range(MAX_COOKIES_PER_SITE):
            jar.set(f"c{number}", "1", domain=f"large{site}.example")
    assert len(jar) <= MAX_COOKIES
    assert all(jar.get("sid", domain=f"site{number}.example") for number in range(1000))


def test_expired_leave_first() -> None:
    """Expired cookies make room, and are no eviction."""
    refusals = Counter[str]()
    jar, now = full_jar(refusals, c7="; Max-Age=5")
    now[0] += 5
    jar.store([b"new=1"], URL)
    assert "c0" in jar
    assert len(jar) == MAX_COOKIES_PER_SITE
    assert refusals == {}


def test_setting_is_a_use() -> None:
    """A cookie that came again, unchanged, outlives one that didn't."""
    jar, _ = full_jar()
    jar.store([b"c0=1", b"new=1"], URL)
    assert "c0" in jar
    assert "c1" not in jar


@pytest.mark.parametrize("others", [{"path": "/other"}, {"domain": "www.shop.example"}])
def test_sending_is_a_use(others: dict[str, Any]) -> None:
    """A cookie that was sent outlives those that weren't, also when its header was kept from before."""
    jar = SessionCookieJar()
    jar.set("sent", "1", domain="shop.example")
    for number in range(MAX_COOKIES_PER_SITE - 1):
        jar.set(f"c{number}", "1", **{"domain": "shop.example", **others})
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
    assert len(SessionCookieJar(cookies, clock=lambda: 1000.0)) == MAX_COOKIES_PER_SITE


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
