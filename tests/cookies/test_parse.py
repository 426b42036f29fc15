"""The syntax of Set-Cookie."""

from __future__ import annotations

import pytest

from scrapy_sessions.cookies.parse import MAX_EXPIRES, parse_set_cookie
from scrapy_sessions.exceptions import InvalidCookie

NOW = 1_700_000_000.0
DATE = b"Wed, 09 Jun 2032 10:18:14 GMT"


@pytest.mark.parametrize(
    ("header", "name", "value"),
    [
        (b"a=b", "a", "b"),
        (b"  a\t=  b \t; Path=/", "a", "b"),
        (b"a=b=c==", "a", "b=c=="),
        (b'a="b c"', "a", '"b c"'),
        (b'a="b', "a", '"b'),
        (b"a=", "a", ""),
        (b"foo", "", "foo"),
        (b"=foo", "", "foo"),
        (b"a=b,c=d", "a", "b,c=d"),
        (b"a=b\tc", "a", "b\tc"),
        (b"a=\xc2\xa0", "a", "\u00a0"),
        ("a=\u00e9", "a", "\u00e9"),
    ],
)
def test_pair(header: bytes | str, name: str, value: str) -> None:
    """Name and value are what stands before and after the first equals sign, verbatim but for spaces around."""
    parsed = parse_set_cookie(header, NOW)
    assert (parsed.name, parsed.value) == (name, value)


@pytest.mark.parametrize(
    "header", [b"", b"=", b" ; Path=/", b"a=b\x00", b"a=b\r\nX: y", b"a\x7f=b", b"a=b; Path=/\x1f", "a=\ud800"]
)
def test_malformed(header: bytes | str) -> None:
    """An empty cookie, and a control character anywhere, make it malformed."""
    with pytest.raises(InvalidCookie) as caught:
        parse_set_cookie(header, NOW)
    assert caught.value.reason == "malformed"


def test_largest_pair() -> None:
    """Name and value of 4096 bytes together are taken."""
    assert len(parse_set_cookie(b"ab=" + b"c" * 4094, NOW).value) == 4094


def test_too_large_pair() -> None:
    """Name and value of 4097 bytes together are refused."""
    with pytest.raises(InvalidCookie) as caught:
        parse_set_cookie(b"ab=" + b"c" * 4095, NOW)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(("size", "path"), [(1024, "/" + "p" * 1023), (1025, None)])
def test_large_attribute_is_ignored(size: int, path: str | None) -> None:
    """An attribute's value of more than 1024 bytes is as good as absent."""
    assert parse_set_cookie(b"a=b; Path=/" + b"p" * (size - 1), NOW).path == path


@pytest.mark.parametrize(
    ("attributes", "expires"),
    [
        (b"", None),
        (b"Expires=" + DATE, 1970389094.0),
        (b"expires=Wednesday, 09-Jun-32 10:18:14 GMT", 1970389094.0),
        (b'Expires="' + DATE + b'"', 1970389094.0),
        (b"Expires=Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"Expires=Mon, 01-Jan-1601 00:00:00 GMT", 0.0),
        (b"Expires=Mon, 01 Jan 0001 00:00:00 GMT", None),
        (b"Expires=0", None),
        (b"Expires=-1", None),
        (b"Expires=", None),
        (b"Expires=Thu, 01 Foo 2032 00:00:00 GMT", None),
        (b"Expires=Thu, 01-Foo-1960 00:00:00 GMT", None),
        (b"Expires=Thu, 01 Jan 2032 00:00:99 GMT", None),
        (b"Expires=" + DATE + b"; Expires=soon", 1970389094.0),
        (b"Max-Age=60", NOW + 60),
        (b"max-age=0", 0.0),
        (b"Max-Age=-1", 0.0),
        (b"Max-Age=" + b"9" * 1000, MAX_EXPIRES),
        (b"Max-Age=-" + b"9" * 1000, 0.0),
        (b"Max-Age=", None),
        (b"Max-Age=+60", None),
        (b"Max-Age=6.5", None),
        (b"Max-Age=60; Max-Age=x", NOW + 60),
        (b"Max-Age=60; Max-Age=90", NOW + 90),
        (b"Max-Age=60; Expires=" + DATE, NOW + 60),
        (b"Expires=" + DATE + b"; Max-Age=0", 0.0),
    ],
)
def test_expiry(attributes: bytes, expires: float | None) -> None:
    """Max-Age wins over Expires, the last valid one of each counts, and an invalid one is as good as absent."""
    assert parse_set_cookie(b"a=b; " + attributes, NOW).expires == expires


@pytest.mark.parametrize(
    ("attributes", "domain"),
    [
        (b"", None),
        (b"Domain=Shop.example", "Shop.example"),
        (b"domain=.shop.example", "shop.example"),
        (b"Domain=", None),
        (b"Domain=.", None),
        (b"Domain", None),
        (b"Domain=a.example; Domain=b.example", "b.example"),
        (b"Domain=a.example; Domain=", None),
    ],
)
def test_domain(attributes: bytes, domain: str | None) -> None:
    """One leading dot is left out, an empty Domain is none, and the last one counts."""
    assert parse_set_cookie(b"a=b; " + attributes, NOW).domain == domain


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        (b"", None),
        (b"Path=/a/b", "/a/b"),
        (b"path=/a; PATH=/b", "/b"),
        (b"Path=a", None),
        (b"Path=", None),
        (b"Path=/a; Path=b", None),
        (b"Path=/a=b", "/a=b"),
        ("Path=/caf\u00e9".encode(), "/caf%C3%A9"),
    ],
)
def test_path(attributes: bytes, path: str | None) -> None:
    """The last Path counts, if it begins with a slash; other characters than ASCII are as they stand in URLs."""
    assert parse_set_cookie(b"a=b; " + attributes, NOW).path == path


@pytest.mark.parametrize(
    ("attributes", "same_site"),
    [
        (b"SameSite=Lax", "Lax"),
        (b"samesite=STRICT", "Strict"),
        (b"SameSite=none", "None"),
        (b"SameSite=foo", None),
        (b"SameSite=Lax; SameSite=foo", None),
        (b"SameSite", None),
    ],
)
def test_same_site(attributes: bytes, same_site: str | None) -> None:
    """SameSite is read in any case; an unknown one is none."""
    assert parse_set_cookie(b"a=b; " + attributes, NOW).same_site == same_site


@pytest.mark.parametrize("flag", ["secure", "http_only", "partitioned"])
@pytest.mark.parametrize("suffix", ["", "=", "=false"])
def test_flags(flag: str, suffix: str) -> None:
    """A flag is set by its name, in any case and whatever its value, and nothing else sets it."""
    header = f"a=b;  {flag.replace('_', '').upper()} {suffix}; foo=Secure"
    parsed = parse_set_cookie(header, NOW)
    assert {name for name in ("secure", "http_only", "partitioned") if getattr(parsed, name)} == {flag}
