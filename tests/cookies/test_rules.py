"""Which cookies a jar takes from a response."""

from __future__ import annotations

from urllib.parse import urlparse, urlsplit

import pytest

from scrapy_sessions.cookies import REFUSAL_REASONS, SessionCookieJar


class Refusals(list[str]):
    """The reasons told to on_refused, each checked to be a documented one."""

    def append(self, reason: str) -> None:
        assert reason in REFUSAL_REASONS
        super().append(reason)


def store(url: str, *headers: str, explicit: bool = False) -> tuple[SessionCookieJar, list[str]]:
    refusals = Refusals()
    jar = SessionCookieJar(on_refused=refusals.append)
    jar.store(headers, urlsplit(url), explicit=explicit)
    return jar, refusals


@pytest.mark.parametrize(
    ("url", "attribute", "domain", "host_only"),
    [
        ("https://www.shop.example/", "", "www.shop.example", True),
        ("https://www.shop.example/", "Domain=", "www.shop.example", True),
        ("https://www.shop.example/", "Domain=www.shop.example", "www.shop.example", False),
        ("https://www.shop.example/", "Domain=.Shop.Example", "shop.example", False),
        ("https://user:pw@www.shop.example:8443/", "Domain=shop.example", "shop.example", False),
        ("https://xn--bcher-kva.example/", "Domain=b\u00fccher.example", "xn--bcher-kva.example", False),
        ("https://co.uk/", "Domain=co.uk", "co.uk", True),
        ("https://me.blogspot.com/", "Domain=me.blogspot.com", "me.blogspot.com", False),
        ("http://127.0.0.1:8000/", "Domain=127.0.0.1", "127.0.0.1", True),
        ("http://[::1]:8000/", "Domain=[::1]", "::1", True),
        ("http://localhost/", "Domain=localhost", "localhost", True),
        ("http://example-host/", "Domain=example-host", "example-host", True),
        ("http://example-host/", "Domain=example-host.local", "example-host", True),
        ("http://example-host/", "Domain=.example-host.local", "example-host", True),
    ],
)
def test_scope(url: str, attribute: str, domain: str, host_only: bool) -> None:
    """Domain makes a cookie one of the subdomains too, where the host can have any; without, it is the host's own."""
    jar, refusals = store(url, f"a=b; {attribute}")
    assert [(cookie.domain, cookie.host_only) for cookie in jar] == [(domain, host_only)]
    assert refusals == []


@pytest.mark.parametrize(
    ("url", "attribute", "reason"),
    [
        ("https://shop.example/", "Domain=other.example", "domain_mismatch"),
        ("https://shop.example/", "Domain=www.shop.example", "domain_mismatch"),
        ("https://myshop.example/", "Domain=shop.example", "domain_mismatch"),
        ("https://shop.example/", "Domain=..shop.example", "domain_mismatch"),
        ("https://shop.example/", "Domain=shop.example.", "domain_mismatch"),
        ("https://shop.example/", "Domain=a..\u00fc", "domain_mismatch"),
        ("https://shop.example/", "Domain=shop.example.local", "domain_mismatch"),
        ("http://10.1.2.3/", "Domain=2.3", "domain_mismatch"),
        ("http://example-host/", "Domain=local", "domain_mismatch"),
        ("http://example-host.local/", "Domain=local", "public_suffix"),
        ("https://foo.co.uk/", "Domain=co.uk", "public_suffix"),
        ("https://foo.blogspot.com/", "Domain=blogspot.com", "public_suffix"),
        ("https://shop.example/", "Domain=example", "public_suffix"),
    ],
)
@pytest.mark.parametrize("explicit", [False, True])
def test_refused_scope(url: str, attribute: str, reason: str, explicit: bool) -> None:
    """A Domain that isn't the host's or a parent's, or is everybody's, is refused, from the user too."""
    jar, refusals = store(url, f"a=b; {attribute}", explicit=explicit)
    assert (len(jar), refusals) == (0, [reason])


def test_domain_of_undecodable_bytes_is_refused() -> None:
    """A Domain that isn't text is no domain."""
    refusals = Refusals()
    jar = SessionCookieJar(on_refused=refusals.append)
    jar.store([b"a=b; Domain=\xff.example"], urlsplit("https://shop.example/"))
    assert (len(jar), refusals) == (0, ["domain_mismatch"])


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://shop.example", "/"),
        ("https://shop.example/", "/"),
        ("https://shop.example/a", "/"),
        ("https://shop.example/a/", "/a"),
        ("https://shop.example/a/b?c=/d/", "/a"),
        ("https://shop.example/a;x=1/b;y=2", "/a;x=1"),
    ],
)
@pytest.mark.parametrize("split", [urlsplit, urlparse])
def test_default_path(url: str, path: str, split: object) -> None:
    """Without a Path a cookie belongs to the folder of the URL that set it."""
    assert callable(split)
    jar = SessionCookieJar()
    jar.store([b"a=b", b"c=d; Path=x"], split(url))
    assert [cookie.path for cookie in jar] == [path, path]


def test_default_path_with_control_characters() -> None:
    """A URL that no request can have gives no cookie its folder as a path."""
    jar, refusals = store("https://shop.example/a\x01b/c", "a=b", "c=d; Path=/")
    assert [cookie.name for cookie in jar] == ["c"]
    assert refusals == ["malformed"]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("__Secure-a=b; Secure", True),
        ("__Secure-a=b", False),
        ("__secure-a=b", False),
        ("__Host-a=b; Secure; Path=/", True),
        ("__HOST-a=b; Secure; Path=/", True),
        ("__Host-a=b; Path=/", False),
        ("__Host-a=b; Secure", False),
        ("__hOsT-a=b; Secure; Path=/a", False),
        ("__Host-a=b; Secure; Path=/; Domain=shop.example", False),
        ("=__Host-a=b; Secure; Path=/", False),
        ("__secure-; Secure", False),
        ("__Hostess=b", True),
        ("a=__Host-b", True),
    ],
)
def test_prefix(header: str, accepted: bool) -> None:
    """A name with a prefix must keep what it promises, in any case, and a nameless cookie can't pretend to have one."""
    jar, refusals = store("https://shop.example/", header)
    assert (len(jar), refusals) == ((1, []) if accepted else (0, ["prefix"]))


@pytest.mark.parametrize(
    ("url", "header", "accepted"),
    [
        ("https://shop.example/", "__Host-a=b; Secure", True),
        ("https://shop.example/a/", "__Host-a=b; Secure", False),
        ("https://shop.example/", "__Host-a=b", False),
        ("https://shop.example/", "__Secure-a=b", False),
    ],
)
def test_prefix_of_an_explicit_cookie(url: str, header: str, accepted: bool) -> None:
    """The user's own cookie may leave its Path to the URL, but must keep the promise all the same."""
    jar, refusals = store(url, header, explicit=True)
    assert (len(jar), refusals) == ((1, []) if accepted else (0, ["prefix"]))


@pytest.mark.parametrize(("scheme", "accepted"), [("http", False), ("ws", False), ("https", True), ("wss", True)])
def test_secure_cookie_needs_an_encrypted_response(scheme: str, accepted: bool) -> None:
    """A Secure cookie from an unencrypted response is refused."""
    jar, refusals = store(f"{scheme}://shop.example/", "a=b; Secure")
    assert (len(jar), refusals) == ((1, []) if accepted else (0, ["insecure_secure"]))


def test_explicit_secure_cookie_on_an_unencrypted_request() -> None:
    """The user's own Secure cookie is kept on an http request, and goes out over https only."""
    jar, refusals = store("http://shop.example/", "a=b; Secure", explicit=True)
    assert refusals == []
    assert jar.header(urlsplit("http://shop.example/")) is None
    assert jar.header(urlsplit("https://shop.example/")) == b"a=b"


@pytest.mark.parametrize(
    ("url", "header", "refused"),
    [
        ("http://www.shop.example/", "sid=evil", True),
        ("http://www.shop.example/", "sid=evil; Domain=shop.example", True),
        ("http://shop.example/", "sid=evil; Domain=shop.example", True),
        ("http://a.www.shop.example/", "sid=evil", True),
        ("http://www.shop.example/", "sid=; Max-Age=0", True),
        ("http://www.shop.example/", "sid=evil; Path=/login/x", True),
        ("http://www.shop.example/", "SID=mine", False),
        ("http://other.shop.example/", "sid=mine", False),
        ("https://www.shop.example/", "sid=mine", False),
    ],
)
def test_insecure_response_leaves_secure_cookies_alone(url: str, header: str, refused: bool) -> None:
    """An unencrypted response can neither overwrite nor shadow a Secure cookie, and may set every other."""
    refusals = Refusals()
    jar = SessionCookieJar(on_refused=refusals.append)
    secure = urlsplit("https://www.shop.example/")
    jar.store([b"sid=good; Secure; Domain=www.shop.example; Path=/"], secure)
    before = list(jar)
    jar.store([header], urlsplit(url))
    assert refusals == (["secure_overwrite"] if refused else [])
    assert (list(jar) == before) is refused


def test_insecure_cookie_of_a_parent_folder_is_no_shadow() -> None:
    """An unencrypted response may set the name at a shorter path: the Secure cookie is still sent first."""
    jar = SessionCookieJar()
    jar.store([b"sid=good; Secure; Path=/login"], urlsplit("https://shop.example/"))
    jar.store([b"sid=other; Path=/"], urlsplit("http://shop.example/"))
    assert jar.header(urlsplit("https://shop.example/login")) == b"sid=good; sid=other"


def test_expired_secure_cookie_protects_nothing() -> None:
    """A Secure cookie that has expired doesn't keep an unencrypted response from setting the name."""
    now = [1000.0]
    jar = SessionCookieJar(clock=lambda: now[0])
    jar.store([b"sid=old; Secure; Max-Age=10"], urlsplit("https://shop.example/"))
    now[0] = 1010.0
    jar.store([b"sid=new"], urlsplit("http://shop.example/"))
    assert jar["sid"] == "new"


def test_explicit_cookie_may_replace_a_secure_one() -> None:
    """The user's own cookie overwrites a Secure one, on an unencrypted request too."""
    jar = SessionCookieJar()
    jar.store([b"sid=old; Secure"], urlsplit("https://shop.example/"))
    jar.store([b"sid=new"], urlsplit("http://shop.example/"), explicit=True)
    assert jar["sid"] == "new"


def test_partitioned_cookie_has_the_site_as_its_key() -> None:
    """A Partitioned cookie is bound to the registrable domain of the response's host."""
    jar, _ = store("https://www.shop.co.uk/", "a=b; Secure; Partitioned")
    assert [cookie.partition_key for cookie in jar] == ["https://shop.co.uk"]


def test_partitioned_cookie_must_be_secure() -> None:
    """Partitioned without Secure is refused."""
    jar, refusals = store("https://shop.example/", "a=b; Partitioned")
    assert (len(jar), refusals) == (0, ["partitioned"])


def test_refused_cookie_costs_itself_only() -> None:
    """The cookies before and after a refused one are kept, and each refusal is told once."""
    jar, refusals = store("https://shop.example/", "a=1", "\x00", "b=2; Domain=com", "c" * 5000, "d=4")
    assert [cookie.name for cookie in jar] == ["a", "d"]
    assert refusals == ["malformed", "domain_mismatch", "too_large"]


def test_refusal_without_a_listener() -> None:
    """A jar that nobody listens to refuses all the same."""
    jar = SessionCookieJar()
    jar.store([b"\x00"], urlsplit("https://shop.example/"))
    assert len(jar) == 0


@pytest.mark.parametrize("url", ["data:,", "file:///tmp/x", "ftp://shop.example/", "https:///a", "http://a b/"])
def test_url_without_cookies(url: str) -> None:
    """A URL that isn't of the web, or has no host, neither sets nor gets cookies."""
    jar = SessionCookieJar()
    jar.set("a", "b", domain="shop.example")
    jar.store([b"c=d"], urlsplit(url))
    assert len(jar) == 1
    assert jar.header(urlsplit(url)) is None


def test_reasons_are_single_lines() -> None:
    """Every reason is a word and a one-line meaning, for the docs."""
    assert all(name.isidentifier() and meaning and "\n" not in meaning for name, meaning in REFUSAL_REASONS.items())
