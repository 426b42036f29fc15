"""Whatever a site sends, a jar survives it and keeps its rules."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions.cookies import REFUSAL_REASONS, SessionCookieJar
from scrapy_sessions.models import Cookie
from tests.support.fuzzing import check_cookie

PARTS = st.sampled_from(
    [
        *(b"a=b", b"a", b"=", b";", b" ", b'"', b"\t", b"\x00", b"\xff", "\uef80".encode(), b"__Host-", b"__Secure-x"),
        *(b"; Domain=", b"; Path=", b"; Expires=", b"; Max-Age=", b"; Secure", b"; HttpOnly", b"; SameSite="),
        *(b"; Partitioned", b".", b"shop.example", b"co.uk", b"example", b"/", b"/a", b"Lax", b"0", b"-1", b"99999"),
        *(b"Wed, 09 Jun 2032 10:18:14 GMT", b"Thu, 01-Jan-70 00:00:00 GMT", b"1601", b"Foo", b"x" * 4096),
    ]
)
HEADERS = st.one_of(st.binary(), st.text(), st.lists(PARTS, max_size=12).map(b"".join))
URLS = st.sampled_from(
    [
        *("https://shop.example/", "http://www.shop.example/a/b", "https://shop.co.uk", "wss://co.uk/;p"),
        *("http://localhost:8000/", "http://127.0.0.1/", "https://[::1]/", "data:,", "http://\u00fc.example/"),
    ]
)


@given(st.lists(HEADERS, max_size=4), URLS, st.booleans())
def test_any_header(headers: list[bytes | str], url: str, explicit: bool) -> None:
    """No Set-Cookie raises, each is kept, refused with a known reason or without effect, and what is kept is sound."""
    refusals: list[str] = []
    jar = SessionCookieJar(clock=lambda: 1_700_000_000.0, on_refused=refusals.append)
    split = urlsplit(url)
    jar.store(headers, split, explicit=explicit)
    assert set(refusals) <= set(REFUSAL_REASONS)
    assert len(jar) + len(refusals) <= len(headers)
    for cookie in jar:
        check_cookie(cookie, split.scheme, explicit)
    header = jar.header(split)
    assert header is None or not set(header) & {*range(9), *range(10, 32), 127}


@given(st.lists(HEADERS, max_size=4), URLS)
def test_what_is_kept_can_be_restored(headers: list[bytes | str], url: str) -> None:
    """Every cookie that a response sets passes the door of a restore, unchanged."""
    jar = SessionCookieJar(clock=lambda: 1_700_000_000.0)
    jar.store(headers, urlsplit(url))
    refusals: list[str] = []
    records = [Cookie.model_validate_json(cookie.model_dump_json()) for cookie in jar]
    again = SessionCookieJar(records, clock=lambda: 1_700_000_000.0, on_refused=refusals.append)
    assert refusals == []
    assert again.dump() == jar.dump()
    assert again.header(urlsplit(url)) == jar.header(urlsplit(url))
