"""A Cookie header: names and values, for a site that somebody has to name."""

from __future__ import annotations

import pytest

from scrapy_sessions import Cookie, FormatError
from scrapy_sessions.formats import cookie_header
from scrapy_sessions.formats.contents import Reading, Source
from scrapy_sessions.formats.registry import detect
from tests.support.formats import load

URL = "https://www.shop.example/"


@pytest.mark.parametrize("text", ["Cookie: a=1; b=x=y; c", "cookie:a=1;b=x=y;c", "\na=1; b=x=y; c;\r\n"])
def test_pairs_are_read(text: str) -> None:
    """With or without its name, a header gives its pairs, also one without a name."""
    cookies = load("header", text, url=URL)
    assert [(cookie.name, cookie.value) for cookie in cookies] == [("a", "1"), ("b", "x=y"), ("", "c")]
    assert {(cookie.domain, cookie.host_only, cookie.secure) for cookie in cookies} == {
        ("www.shop.example", True, True)
    }


def test_cookies_may_have_names_of_attributes() -> None:
    """Cookies may have the names of attributes; only what no site sends in a Cookie header is an error."""
    cookies = load("header", "Secure; path=/x; domain=a; expires=never; samesite=x; set-cookie=1", url=URL)
    assert [cookie.name for cookie in cookies] == ["", "path", "domain", "expires", "samesite", "set-cookie"]


def test_the_site_is_named_by_url_or_domain() -> None:
    """http gives cookies that aren't Secure, a leading dot those for subdomains, a prefix what it promises."""
    (plain,) = load("header", "a=1", url="http://shop.example:8080/x")
    assert (plain.domain, plain.secure, plain.path) == ("shop.example", False, "/")
    (shared,) = load("header", "a=1", domain=".shop.example")
    assert (shared.domain, shared.host_only) == ("shop.example", False)
    (prefixed,) = load("header", "__Host-a=1", domain="shop.example")
    assert prefixed.secure


def test_of_two_the_first_counts() -> None:
    """Of two cookies with one name the first is kept: it has the longer path, and is the one sites read."""
    assert [cookie.value for cookie in load("header", "a=near; a=far", url=URL)] == ["near"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('sid=1; q="a b"', "header"),
        ("'sid=1'", "header"),
        ("nameless; sid=1", "header"),
        ("Cookie: (a)=1", "header"),
        ("fetch('https://shop.example/', {headers: {cookie: 'a=1'}})", None),
        ("wget --header 'Cookie: a=1' https://shop.example/", None),
        ("document.cookie = 'a=1'", None),
        ("<p class=a>", None),
        ("a=1\nb=2", None),
        ("curl https://shop.example/ -b a=1", "curl"),
        ('{"a": "1", "n": 5}', "name-value"),
        ('{"a": "1", "n": true}', None),
    ],
)
def test_what_is_pasted_is_no_junk(text: str, name: str | None) -> None:
    """With the site named, a line of names and values is a header; a program, a command or a page is not."""
    source, reading = Source(text), Reading(url=URL)
    if name is None:
        with pytest.raises(FormatError, match="its format is unknown"):
            detect(source, reading)
    else:
        assert detect(source, reading) == name


@pytest.mark.parametrize(
    ("text", "where", "place"),
    [
        ("a=secret", {}, "the file"),
        ("a=secret", {"url": "shop.example"}, "the URL"),
        ("a=secret", {"url": "http://[x/"}, "the URL"),
        ("a=secret", {"domain": "no host"}, "cookie 1"),
        ("a=secret", {"domain": "shop..example"}, "cookie 1"),
        ("Set-Cookie: a=secret", {"url": URL}, "the header"),
        ("\nset-cookie2: a=secret", {}, "the header"),
        ("a=secret; Path=/; HttpOnly", {"url": URL}, "cookie 3"),
        ("a=secret; SameSite=Lax", {"url": URL}, "cookie 2"),
        ("a=secret; max-age=60", {"url": URL}, "cookie 2"),
        ("a=secret; Expires=Wed, 21 Oct 2026 07:28:00 GMT", {"url": URL}, "cookie 2"),
        ("a=secret\n\nb=secret", {"url": URL}, "line 3"),
    ],
)
def test_what_can_not_be_read_is_named(text: str, where: dict[str, str], place: str) -> None:
    """Without a site, or of more than one line, a header is refused, and not quoted."""
    with pytest.raises(FormatError) as error:
        load("header", text, **where)
    assert error.value.place == place
    assert "secret" not in str(error.value)


def test_only_cookies_for_the_url_are_written() -> None:
    """The header for a URL has what the jar would send there, in its order, and is empty if that is nothing."""
    cookies = [
        Cookie(name="a", value="1", domain="shop.example", host_only=False),
        Cookie(name="b", value="2", domain="www.shop.example", path="/x"),
        Cookie(name="c", value="3", domain="other.example"),
    ]
    assert cookie_header.dump(cookies, url="https://www.shop.example/x") == "Cookie: b=2; a=1\n"
    assert cookie_header.dump(cookies, url="https://elsewhere.example/") == ""
