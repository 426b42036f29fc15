"""Which Secure cookies an unencrypted response may not hide is found without a walk through the jar."""

from __future__ import annotations

import itertools
from unittest.mock import patch
from urllib.parse import SplitResult, urlsplit

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scrapy_sessions.cookies import SessionCookieJar, jar
from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.cookies.rules import Origin, accept, shadows
from scrapy_sessions.cookies.stored import StoredCookie

# Several depths under one name; names that only end alike, or sort beside it; and addresses, which have no parents.
HOSTS = (
    "example",
    "shop.example",
    "a.shop.example",
    "b.a.shop.example",
    "c.b.a.shop.example",
    "b.shop.example",
    "ashop.example",
    "x-shop.example",
    "shop.example.",
    "a.shop.example.",
    "other.test",
    "0.0.1",
    "127.0.0.1",
)
SHARED = HOSTS[1:7]
NAMES = ("a", "b")
PATHS = ("/", "/a", "/a/b")
CONTENT = "scrapy_sessions.cookies.index"


def made(header: str, url: SplitResult) -> StoredCookie:
    """The cookie that *header* from *url* asks for."""
    origin = Origin.of(url)
    assert origin is not None
    return accept(header, url, origin, 1000.0, explicit=False)


def is_hiding(new: StoredCookie, held: list[StoredCookie]) -> bool:
    """Whether *new* would hide one of *held*, by a walk through all of them."""
    return any(shadows(new, old) for old in held)


def probe(name: str, host: str, path: str) -> tuple[str, SplitResult, StoredCookie]:
    """A Set-Cookie that leaves the jar as it is unless it is refused: it has expired, and no cookie has its path."""
    header, url = f"{name}=; Max-Age=0; Path={path}/probe", urlsplit(f"http://{host}/")
    return header, url, made(header, url)


PROBES = tuple(itertools.starmap(probe, itertools.product(NAMES, HOSTS, ("", "/a", "/a/b"))))


class Shadows(RuleBasedStateMachine):
    """A small jar under random changes, which is asked after each what it would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = patch.multiple(CONTENT, _FEW_DOMAINS=2, MAX_COOKIES=10, MAX_COOKIES_PER_SITE=4)
        self.bounds.start()
        self.now = 1000.0
        self.refusals: list[str] = []
        self.jar = SessionCookieJar(clock=lambda: self.now, on_refused=self.refusals.append)

    def teardown(self) -> None:
        self.bounds.stop()

    def held(self) -> list[StoredCookie]:
        """All that the jar has, the expired left out."""
        return [StoredCookie.of(cookie) for cookie in self.jar]

    @rule(
        name=st.sampled_from(NAMES),
        domain=st.sampled_from([*HOSTS, *(f".{domain}" for domain in SHARED)]),
        path=st.sampled_from(PATHS),
        expires=st.sampled_from([None, None, 1005.0, 1010.0]),
        secure=st.sampled_from([True, True, False]),
        partitioned=st.booleans(),
    )
    def edit(self, name: str, domain: str, path: str, expires: float | None, secure: bool, partitioned: bool) -> None:
        """Set a cookie by hand: a new one, one that is Secure now, or no more."""
        key = "https://shop.example" if secure and partitioned else None
        self.jar.set(name, "1", domain=domain, path=path, expires=expires, secure=secure, partition_key=key)

    @rule(
        name=st.sampled_from(NAMES),
        host=st.sampled_from(HOSTS),
        path=st.sampled_from(PATHS),
        age=st.sampled_from(["", "; Max-Age=0", "; Max-Age=5"]),
    )
    def respond(self, name: str, host: str, path: str, age: str) -> None:
        """Receive a Set-Cookie over http: it is refused if it would hide a Secure cookie, else it has its effect."""
        header, url = f"{name}=2; Path={path}{age}", urlsplit(f"http://{host}/")
        hidden = is_hiding(made(header, url), self.held())
        secure = {each.identity for each in self.held() if each.secure}
        self.refusals.clear()
        self.jar.store([header], url)
        assert ("secure_overwrite" in self.refusals) is hidden
        assert secure == {each.identity for each in self.held() if each.secure}
        if not hidden:
            fits = [each.value for each in self.jar if (each.name, each.domain, each.path) == (name, host, path)]
            expected = age != "; Max-Age=0"
            if expected and self.refusals == ["evicted"]:  # itself, if there are only Secure cookies besides
                expected = not all(each.secure for each in self.held() if site_of(each.domain) == site_of(host))
            assert ("2" in fits) is expected

    @rule(name=st.sampled_from(NAMES), path=st.sampled_from([None, *PATHS]))
    def delete(self, name: str, path: str | None) -> None:
        """Delete by name."""
        self.jar.delete(name, path=path)

    @rule(domain=st.sampled_from([*HOSTS, *HOSTS, None]))
    def clear(self, domain: str | None) -> None:
        """Clear a domain, or all."""
        self.jar.clear(domain)

    @rule()
    def restore(self) -> None:
        """Restore the jar from its own record."""
        self.jar.restore(self.jar.dump())

    @precondition(lambda self: len(self.jar) > 4)
    @rule(step=st.sampled_from([-4.0, 3.0, 6.0]))
    def wait(self, step: float) -> None:
        """Move the clock."""
        self.now += step

    @invariant()
    def what_is_refused_is_what_a_walk_would_refuse(self) -> None:
        """Every name, at every host and depth of path, is refused as a walk through the whole jar says."""
        held = self.held()
        for header, url, new in PROBES:
            self.refusals.clear()
            self.jar.store([header], url)
            assert self.refusals == ["secure_overwrite"] * is_hiding(new, held), (header, url.netloc)


TestShadows = Shadows.TestCase
TestShadows.settings = settings(TestShadows.settings, max_examples=60)


def looked_at(cookies: SessionCookieJar, header: str, url: str) -> int:
    """How many cookies the jar compares with *header* from *url*, which has expired and so changes nothing."""
    with patch.object(jar, "shadows", wraps=shadows) as compared:
        cookies.store([f"{header}; Max-Age=0"], urlsplit(url))
    return compared.call_count


@pytest.mark.parametrize(
    ("header", "url", "expected"),
    [
        ("other=1", "http://h7.shop.example/", 0),
        ("sid=1", "http://h7.shop.example/", 1),
        ("sid=1; Path=/x", "http://new.h7.shop.example/", 1),
        ("sid=1", "http://new.shop.example/", 0),
        ("sid=1", "http://ten.example/", 10),
        ("sid=1", "http://h7.ten.example/", 1),
    ],
)
def test_only_what_can_be_hidden_is_looked_at(header: str, url: str, expected: int) -> None:
    """In a jar of hundreds of domains, a cookie is compared with those of its name above, below and at its domain."""
    cookies = SessionCookieJar()
    for number in range(300):
        site = "shop.example" if number < 80 else f"site{number // 80}.example"
        cookies.set("sid", "1", domain=f"h{number}.{site}", path="/x", secure=True)
        cookies.set("plain", "1", domain=f"h{number}.{site}")
    for number in range(10):
        cookies.set("sid", "1", domain=f"h{number}.ten.example", path="/x", secure=True)
    assert looked_at(cookies, header, url) == expected
    cookies.set("sid", "1", domain="late.ten.example", path="/x", secure=True)
    cookies.delete("sid", domain="h0.ten.example")
    cookies.delete("sid", domain="h1.ten.example")
    assert looked_at(cookies, "sid=1", "http://ten.example/") == 9


def test_a_jar_without_secure_cookies_looks_at_none() -> None:
    """Where no cookie is Secure, an unencrypted response is compared with none, however many have its name."""
    cookies = SessionCookieJar()
    for number in range(300):
        cookies.set("sid", "1", domain=f"h{number}.site{number // 100}.example")
    assert looked_at(cookies, "sid=2", "http://shop.example/") == 0


def test_few_domains_are_asked_by_name() -> None:
    """In a jar of one domain and many cookies, those of other names are not compared."""
    cookies = SessionCookieJar()
    for number in range(100):
        cookies.set(f"c{number}", "1", domain="shop.example", secure=True)
    assert looked_at(cookies, "c7=2", "http://shop.example/") == 1


def test_a_replaced_cookie_makes_nobody_leave() -> None:
    """To set a cookie that is there already, a jar at its bounds doesn't look for others that could leave."""
    url = urlsplit("https://shop.example/")
    cookies = SessionCookieJar()
    cookies.store([f"c{number}=1" for number in range(180)], url)
    cookies.set("more", "1", domain="other.example")
    with patch(f"{CONTENT}.iter_linked", side_effect=AssertionError):
        cookies.store([b"c7=2"], url)
    assert cookies["c7"] == "2"
    assert len(cookies) == 181
