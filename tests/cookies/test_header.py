"""Which cookies go to a URL, and that a header kept from before is always the one that would be made now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from unittest.mock import patch
from urllib.parse import ParseResult, SplitResult, urlparse, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.parse import encode
from scrapy_sessions.cookies.stored import ENCODED_FIELDS
from scrapy_sessions.models import Cookie


def sent(jar: SessionCookieJar, url: str) -> bytes | None:
    return jar.header(urlsplit(url))


@pytest.mark.parametrize(
    ("domain", "url", "goes"),
    [
        ("shop.example", "https://shop.example/", True),
        ("shop.example", "https://shop.example:8443/", True),
        ("shop.example", "https://SHOP.example/", True),
        ("shop.example", "https://www.shop.example/", False),
        ("shop.example", "https://example/", False),
        (".shop.example", "https://shop.example/", True),
        (".shop.example", "https://a.b.shop.example/", True),
        (".shop.example", "https://myshop.example/", False),
        (".www.shop.example", "https://shop.example/", False),
        (".xn--bcher-kva.example", "https://www.b\u00fccher.example/", True),
        ("127.0.0.1", "http://127.0.0.1:8000/", True),
        ("::1", "http://[::1]:8000/", True),
        ("localhost", "http://localhost/", True),
    ],
)
def test_host(domain: str, url: str, goes: bool) -> None:
    """A host-only cookie goes to its host on any port, a domain cookie to its subdomains too."""
    jar = SessionCookieJar()
    jar.set("a", "b", domain=domain)
    assert sent(jar, url) == (b"a=b" if goes else None)


@pytest.mark.parametrize(
    ("path", "url", "goes"),
    [
        ("/", "https://shop.example", True),
        ("/a", "https://shop.example/a", True),
        ("/a", "https://shop.example/a/", True),
        ("/a", "https://shop.example/a/b", True),
        ("/a", "https://shop.example/a?b", True),
        ("/a", "https://shop.example/ab", False),
        ("/a", "https://shop.example/a;b", False),
        ("/a", "https://shop.example/", False),
        ("/a/", "https://shop.example/a", False),
        ("/a/", "https://shop.example/a/", True),
        ("/a/", "https://shop.example/a/b", True),
    ],
)
@pytest.mark.parametrize("split", [urlsplit, urlparse])
def test_path(path: str, url: str, goes: bool, split: object) -> None:
    """A cookie goes to its path and the folders below, whichever way the URL was parsed."""
    assert callable(split)
    jar = SessionCookieJar()
    jar.set("a", "b", domain="shop.example", path=path)
    assert jar.header(split(url)) == (b"a=b" if goes else None)


@pytest.mark.parametrize(("scheme", "goes"), [("http", False), ("ws", False), ("https", True), ("wss", True)])
def test_secure(scheme: str, goes: bool) -> None:
    """A Secure cookie goes over encrypted connections only."""
    jar = SessionCookieJar()
    jar.set("a", "b", domain="shop.example", secure=True)
    assert sent(jar, f"{scheme}://shop.example/") == (b"a=b" if goes else None)


@pytest.mark.parametrize(
    ("key", "goes"), [("https://shop.example", True), ("https://other.example", False), (None, True)]
)
def test_partition(key: str | None, goes: bool) -> None:
    """A cookie of another site's partition stays there."""
    jar = SessionCookieJar()
    jar.set("a", "b", domain="www.shop.example", secure=True, partition_key=key)
    assert sent(jar, "https://www.shop.example/") == (b"a=b" if goes else None)


@pytest.mark.parametrize("same_site", ["Strict", "Lax", "None", None])
def test_same_site_is_not_enforced(same_site: str | None) -> None:
    """SameSite keeps no cookie back: every request of a crawl is a navigation."""
    jar = SessionCookieJar()
    jar.store([f"a=b; SameSite={same_site}"], urlsplit("https://shop.example/"))
    assert sent(jar, "https://shop.example/") == b"a=b"


def test_nameless() -> None:
    """A cookie without a name is sent as its value."""
    jar = SessionCookieJar()
    jar.store([b"foo", b"a=b"], urlsplit("https://shop.example/"))
    assert sent(jar, "https://shop.example/") == b"foo; a=b"


def test_order() -> None:
    """Longer paths come first, then what was created earlier, then what came first; overwriting changes no place."""
    now = [1000.0]
    jar = SessionCookieJar(clock=lambda: now[0])
    url = urlsplit("https://www.shop.example/a/b")
    jar.store([b"new=1; Path=/", b"next=1; Path=/; Domain=shop.example", b"deep=1; Path=/a"], url)
    now[0] = 900.0
    jar.store([b"old=1; Path=/", b"deeper=1; Path=/a/b"], url)
    now[0] = 2000.0
    jar.store([b"old=2; Path=/"], url)
    assert jar.header(url) == b"deeper=1; deep=1; old=2; new=1; next=1"


def test_order_of_one_moment() -> None:
    """Of cookies that came at the same moment, one that is overwritten keeps its place."""
    jar = SessionCookieJar(clock=lambda: 1000.0)
    url = urlsplit("https://shop.example/")
    jar.store([b"a=1", b"b=1", b"c=1", b"a=2"], url)
    assert jar.header(url) == b"a=2; b=1; c=1"


def test_order_survives_a_restore() -> None:
    """A restored jar sends the same header, also for cookies created at the same moment in several domains."""
    jar = SessionCookieJar(clock=lambda: 1000.0)
    url = urlsplit("https://www.shop.example/")
    jar.store([b"a=1; Domain=shop.example", b"b=1", b"c=1; Domain=shop.example", b"d=1"], url)
    assert jar.header(url) == b"a=1; b=1; c=1; d=1"
    assert SessionCookieJar(jar.dump(), clock=lambda: 1001.0).header(url) == b"a=1; b=1; c=1; d=1"


def test_expiry() -> None:
    """A cookie is sent until the moment before it expires."""
    now = [1000.0]
    jar = SessionCookieJar(clock=lambda: now[0])
    jar.store([b"a=1; Max-Age=10", b"b=2"], urlsplit("https://shop.example/"))
    now[0] = 1009.9
    assert sent(jar, "https://shop.example/") == b"a=1; b=2"
    now[0] = 1010.0
    assert sent(jar, "https://shop.example/") == b"b=2"


@pytest.mark.parametrize("ages", [(5, 10, 15), (15, 10, 5), (10, 5, 15)])
def test_each_expires_by_itself(ages: tuple[int, ...]) -> None:
    """Of several cookies each is sent until it expires, in whatever order they do, to and fro."""
    now = [1000.0]
    jar = SessionCookieJar(clock=lambda: now[0])
    jar.store([f"c{age}={age}; Max-Age={age}" for age in ages], urlsplit("https://shop.example/"))
    for moment in (0, 4, 5, 9, 10, 14, 15, 20, 12, 7, 2):
        now[0] = 1000.0 + moment
        pairs = [f"c{age}={age}" for age in ages if moment < age]
        assert sent(jar, "https://shop.example/") == ("; ".join(pairs).encode() or None)


def test_clock_set_back() -> None:
    """A cookie that had expired is sent again when the clock is set back to before its end."""
    now = [1010.0]
    jar = SessionCookieJar(clock=lambda: now[0])
    jar.set("a", "1", domain="shop.example")
    now[0] = 1000.0
    jar.set("b", "2", domain="shop.example", expires=1005.0)
    now[0] = 1010.0
    assert sent(jar, "https://shop.example/") == b"a=1"
    now[0] = 1000.0
    assert sent(jar, "https://shop.example/") == b"b=2; a=1"


def test_one_header_for_many_paths() -> None:
    """A site with a cookie for every folder gets the right ones at each, also beyond the headers that are kept."""
    jar = SessionCookieJar()
    for number in range(150):
        jar.set("a", str(number), domain="shop.example", path=f"/{number}")
    for _ in range(2):
        for number in range(150):
            assert sent(jar, f"https://shop.example/{number}/x") == f"a={number}".encode()


def test_one_jar_for_many_hosts() -> None:
    """Every host gets its own cookies, also beyond the number of hosts whose headers are kept."""
    jar = SessionCookieJar()
    for number in range(100):
        jar.set("a", str(number), domain=f"h{number}.example")
    for _ in range(2):
        for number in range(100):
            assert sent(jar, f"https://h{number}.example/") == f"a={number}".encode()


# -- the kept headers against a plain reading of the RFC

HOSTS = ["shop.example", "www.shop.example", "a.www.shop.example", "shop.co.uk", "127.0.0.1", "localhost", "::1"]
DOMAINS = ["shop.example", "www.shop.example", "shop.co.uk"]  # of which a cookie may be shared
PATHS = ["/", "/a", "/a/", "/a/b", "/b"]
NETLOCS = [
    *("shop.example", "www.shop.example", "WWW.Shop.example:8000", "a.www.shop.example", "me:word@shop.example:"),
    *("notshop.example", "example", "shop.co.uk", "co.uk:80", "127.0.0.1", "127.0.0.1:8000", "0.0.1", "localhost"),
    *("[::1]", "[::1]:443", "me@www.shop.example:443", "shop.example.", "b\u00fccher.example", ""),
]
URLS = st.builds(
    lambda split, scheme, netloc, path: split(f"{scheme}://{netloc}{path}"),
    st.sampled_from([urlsplit, urlparse]),
    st.sampled_from(["http", "https", "https", "wss", "ftp"]),
    st.sampled_from(NETLOCS),
    st.sampled_from(["", "/", "/a", "/ab", "/a;b", "/a/", "/a/b", "/a/b/c?d", "/b/"]),
)
SHOP_URLS = st.builds(
    "{}://{}{}".format, st.sampled_from(["http", "https"]), st.sampled_from(DOMAINS), st.sampled_from(["/", "/a/b", ""])
).map(urlsplit)
NAMES = st.sampled_from(["", "a", "b"])
KEYS = {"shop.example": "https://shop.example", "shop.co.uk": "https://shop.co.uk"}  # by the end of the host


@dataclass(eq=False)
class Kept:
    """A cookie as the plain jar keeps it: what of it can be another while it stays the same cookie."""

    value: str
    expires: float | None
    secure: bool
    created: float
    place: int


class PlainJar:
    """RFC 6265bis, sections 5.7 and 5.8, as it stands there: everything is looked at every time."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str, bool, str | None], Kept] = {}
        self.places = count()

    def put(self, key: tuple[str, str, str, bool, str | None], new: Kept, now: float) -> None:
        old = self.kept.get(key)
        if old is not None and old.expires is not None and old.expires <= now:
            del self.kept[key]
            old = None
        if new.expires is not None and new.expires <= now:
            self.kept.pop(key, None)
            return
        if old is not None:
            new.created, new.place = old.created, old.place
        self.kept[key] = new

    def live(self, now: float) -> list[tuple[tuple[str, str, str, bool, str | None], Kept]]:
        return [(key, kept) for key, kept in self.kept.items() if kept.expires is None or kept.expires > now]

    def header(self, url: SplitResult | ParseResult, now: float) -> bytes | None:
        host = (url.hostname or "").encode("idna").decode()
        path = url.geturl().partition("://")[2].partition("?")[0].removeprefix(url.netloc) or "/"
        if url.scheme not in {"http", "https", "wss"}:
            return None
        site = next((key for end, key in KEYS.items() if f".{host}".endswith(f".{end}")), None)
        fit = [
            (len(folder), kept.created, kept.place, f"{name}={kept.value}" if name else kept.value)
            for (domain, name, folder, host_only, key), kept in self.live(now)
            if (domain == host or (not host_only and host.endswith("." + domain)))
            and (path == folder or path.startswith(folder if folder[-1] == "/" else folder + "/"))
            and (url.scheme != "http" or not kept.secure)
            and key in {None, site}
        ]
        fit.sort(key=lambda each: (-each[0], *each[1:3]))
        return encode("; ".join(pair for *_, pair in fit)) or None


class KeptHeaders(RuleBasedStateMachine):
    """A jar under random changes, requests and moves of its clock, to and fro, beside a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.jar = SessionCookieJar(clock=lambda: self.now)
        self.plain = PlainJar()
        self.asked: list[SplitResult | ParseResult] = []

    @rule(url=URLS)
    def request(self, url: SplitResult | ParseResult) -> None:
        """Ask for a URL now, and again after each later step."""
        self.asked = [*self.asked[-7:], url]

    @rule(
        url=SHOP_URLS,
        name=NAMES,
        value=st.sampled_from(["1", "2", "\u00e9", "\uefe9"]),
        shared=st.booleans(),
        path=st.sampled_from([None, *PATHS]),
        age=st.sampled_from([None, 0, 5, 20]),
        flags=st.sampled_from(["", "; Secure", "; Secure; Partitioned"]),
    )
    def respond(
        self, url: SplitResult, name: str, value: str, shared: bool, path: str | None, age: int | None, flags: str
    ) -> None:
        """Receive a Set-Cookie."""
        host = url.netloc
        header = f"{name}={value}{flags}" + (f"; Domain={host}" if shared else "")
        header += ("" if path is None else f"; Path={path}") + ("" if age is None else f"; Max-Age={age}")
        self.jar.store([header], url, explicit=True)
        key = next(key for end, key in KEYS.items() if host.endswith(end)) if "Partitioned" in flags else None
        folder = path or ("/a" if url.path == "/a/b" else "/")
        expires = None if age is None else (self.now + age if age else 0.0)
        kept = Kept(value, expires, bool(flags), self.now, next(self.plain.places))
        self.plain.put((host, name, folder, not shared, key), kept, self.now)

    @rule(
        name=NAMES,
        value=st.sampled_from(["1", "2"]),
        domain=st.sampled_from([*HOSTS, *(f".{domain}" for domain in DOMAINS)]),
        path=st.sampled_from(PATHS),
        expires=st.sampled_from([None, None, 0.0, 1003.0, 1010.0]),
        key=st.sampled_from([None, "https://shop.example", "https://other.example"]),
    )
    def edit(self, name: str, value: str, domain: str, path: str, expires: float | None, key: str | None) -> None:
        """Set a cookie by hand."""
        self.jar.set(name, value, domain=domain, path=path, expires=expires, secure=key is not None, partition_key=key)
        kept = Kept(value, expires, key is not None, self.now, next(self.plain.places))
        self.plain.put((domain.removeprefix("."), name, path, domain[0] != ".", key), kept, self.now)

    @rule(name=NAMES, path=st.sampled_from([None, *PATHS]))
    def delete(self, name: str, path: str | None) -> None:
        """Delete by name."""
        found = [key for key, _ in self.plain.live(self.now) if key[1] == name and path in {None, key[2]}]
        assert self.jar.delete(name, path=path) == len(found)
        for key in found:
            del self.plain.kept[key]

    @rule(domain=st.sampled_from(HOSTS))
    def clear(self, domain: str) -> None:
        """Clear a domain."""
        found = [key for key, _ in self.plain.live(self.now) if key[0] == domain]
        assert self.jar.clear(domain) == len(found)
        for key in found:
            del self.plain.kept[key]

    @rule()
    def reload(self) -> None:
        """Restore the jar from its own record."""
        self.jar.restore(self.jar.dump())
        self.plain.kept = dict(self.plain.live(self.now))

    @rule(step=st.sampled_from([-7.0, -1.0, 1.0, 3.0, 8.0]))
    def wait(self, step: float) -> None:
        """Move the clock."""
        self.now += step

    @invariant()
    def every_header_is_the_plain_one(self) -> None:
        """Whatever was kept from before, the header is that of the RFC."""
        for url in self.asked:
            assert self.jar.header(url) == self.plain.header(url, self.now)

    @invariant()
    def the_jar_holds_what_the_plain_one_does(self) -> None:
        """What is dumped, and what is saved of it, is what was set, and what has not expired."""
        dumped = self.jar.dump()
        found = {(c.domain, c.name, c.path, c.host_only, c.partition_key): (c.value, c.created) for c in dumped}
        assert found == {key: (kept.value, kept.created) for key, kept in self.plain.live(self.now)}
        assert len(dumped) == len(found)
        saved = json.loads(b"[%b]" % self.jar.encoded())
        assert [Cookie.model_validate(dict(zip(ENCODED_FIELDS, each, strict=False))) for each in saved] == dumped


TestKeptHeaders = KeptHeaders.TestCase


@given(st.lists(st.tuples(NAMES, st.sampled_from(PATHS), st.booleans(), st.booleans()), max_size=25))
def test_the_least_used_leave_first(made: list[tuple[str, str, bool, bool]]) -> None:
    """In a full jar of cookies that share their names, the new one stays, and those set longest ago leave."""
    jar = SessionCookieJar()
    held: dict[tuple[str, str, bool, bool], None] = {}
    with patch("scrapy_sessions.cookies.index.MAX_COOKIES_PER_SITE", 4):
        for key in made:
            name, path, host_only, partitioned = key
            site = "https://shop.example" if partitioned else None
            jar.set(name, "1", domain="shop.example", path=path, host_only=host_only, secure=True, partition_key=site)
            held.pop(key, None)
            held[key] = None
            while len(held) > 4:
                del held[next(iter(held))]
            assert {(c.name, c.path, c.host_only, c.partition_key is not None) for c in jar.dump()} == held.keys()
