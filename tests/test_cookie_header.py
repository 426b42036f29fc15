"""Which cookies go to a URL, and that a header kept from before is always the one that would be made now."""

from __future__ import annotations

from urllib.parse import SplitResult, urlparse, urlsplit

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.parse import encode
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

HOSTS = ["shop.example", "www.shop.example", "a.www.shop.example", "shop.co.uk", "127.0.0.1", "localhost"]
PATHS = ["/", "/a", "/a/", "/a/b", "/b"]
URLS = st.builds(
    lambda scheme, host, port, path: urlsplit(f"{scheme}://{host}{port}{path}"),
    st.sampled_from(["http", "https", "wss"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":8000"]),
    st.sampled_from(["", "/", "/a", "/ab", "/a/b", "/a/b/c?d", "/b/"]),
)
NAMES = st.sampled_from(["", "a", "b", "c"])


def plain_header(cookies: list[Cookie], url: SplitResult) -> bytes | None:
    """The header by the letter of RFC 6265bis, section 5.8.3, from public data only."""
    host, path, encrypted = url.hostname or "", url.path or "/", url.scheme in {"https", "wss"}
    sites = {"127.0.0.1": "127.0.0.1", "localhost": "localhost", "shop.co.uk": "shop.co.uk"}
    fit = [
        cookie
        for cookie in cookies
        if (cookie.domain == host or (not cookie.host_only and host.endswith("." + cookie.domain)))
        and (cookie.path == path or path.startswith(cookie.path.rstrip("/") + "/"))
        and (encrypted or not cookie.secure)
        and cookie.partition_key in {None, "https://" + sites.get(host, "shop.example")}
    ]
    fit.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
    return encode("; ".join(f"{c.name}={c.value}" if c.name else c.value for c in fit)) or None


class KeptHeaders(RuleBasedStateMachine):
    """A jar under random changes, requests and moves of its clock, to and fro."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.jar = SessionCookieJar(clock=lambda: self.now)
        self.asked: list[SplitResult] = []

    @rule(url=URLS)
    def request(self, url: SplitResult) -> None:
        """Ask for a URL now, and again after each later step."""
        self.asked = [*self.asked[-7:], url]

    @rule(
        url=URLS,
        name=NAMES,
        value=st.sampled_from(["1", "2", "\u00e9", "\uefe9"]),
        domain=st.sampled_from(["", "; Domain=shop.example", "; Domain=www.shop.example", "; Domain=shop.co.uk"]),
        path=st.sampled_from(["", *(f"; Path={path}" for path in PATHS)]),
        age=st.sampled_from(["", "; Max-Age=0", "; Max-Age=5", "; Max-Age=20"]),
        flags=st.sampled_from(["", "; Secure", "; Secure; Partitioned"]),
        explicit=st.booleans(),
    )
    def respond(self, url: SplitResult, explicit: bool, **parts: str) -> None:
        """Receive a Set-Cookie."""
        header = "{name}={value}{domain}{path}{age}{flags}".format_map(parts)
        self.jar.store([header], url, explicit=explicit)

    @rule(
        name=NAMES,
        value=st.sampled_from(["1", "2"]),
        domain=st.sampled_from([*HOSTS, ".shop.example"]),
        path=st.sampled_from(PATHS),
        expires=st.sampled_from([None, 0.0, 1003.0, 1010.0]),
        key=st.sampled_from([None, "https://shop.example", "https://other.example"]),
    )
    def edit(self, name: str, value: str, domain: str, path: str, expires: float | None, key: str | None) -> None:
        """Set a cookie by hand."""
        self.jar.set(name, value, domain=domain, path=path, expires=expires, secure=key is not None, partition_key=key)

    @rule(name=NAMES, path=st.sampled_from([None, *PATHS]))
    def delete(self, name: str, path: str | None) -> None:
        """Delete by name."""
        self.jar.delete(name, path=path)

    @rule(domain=st.sampled_from([None, *HOSTS]))
    def clear(self, domain: str | None) -> None:
        """Clear a domain, or all."""
        self.jar.clear(domain)

    @rule()
    def reload(self) -> None:
        """Restore the jar from its own record."""
        self.jar.restore(self.jar.dump())

    @rule(step=st.sampled_from([-7.0, -1.0, 1.0, 3.0, 8.0]))
    def wait(self, step: float) -> None:
        """Move the clock."""
        self.now += step

    @invariant()
    def every_header_is_the_plain_one(self) -> None:
        """Whatever was kept from before, the header is that of the RFC."""
        cookies = self.jar.dump()
        for url in self.asked:
            assert self.jar.header(url) == plain_header(cookies, url)


TestKeptHeaders = KeptHeaders.TestCase
