"""A jar and its record: nothing is lost on the way, and two holders of one session lose nothing of each other's."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.models import Cookie

URL = urlsplit("https://www.shop.example/a/b")
NOW = 1_700_000_000.5


def reloaded(jar: SessionCookieJar) -> SessionCookieJar:
    """The jar as another process would have it, through JSON."""
    records = [cookie.model_dump_json() for cookie in jar.dump()]
    return SessionCookieJar(map(Cookie.model_validate_json, records), clock=lambda: NOW)


@pytest.mark.parametrize(
    "headers",
    [
        [b"a=host-only"],
        [b"a=domain; Domain=shop.example"],
        [b"a=both", b"a=both; Domain=www.shop.example"],
        [b"a=default-path"],
        [b"a=path; Path=/a"],
        [b"a=root; Path=/", b"a=deep; Path=/a"],
        [b"a=session; Expires=0"],
        [b"a=dated; Expires=Wed, 09 Jun 2032 10:18:14 GMT"],
        [b"a=aged; Max-Age=60"],
        [b"a=1; Max-Age=60", b"a=; Max-Age=-1", b"b=2"],
        [b"a=b=c==; Path=/"],
        [b'a="quo;ted"', b'b="q u o t e d"', b'c=half"'],
        [b"a=; Path=/", b"nameless", b"==x"],
        [b"a=1; SameSite=Strict", b"b=1; SameSite=Lax", b"c=1; SameSite=None", b"d=1; SameSite=x"],
        [b"a=1; Secure; Partitioned", b"a=2; Secure"],
        [b"a=1; HttpOnly; Secure"],
        [b"__Host-a=1; Secure; Path=/", b"__Secure-b=2; Secure"],
        [b"a=caf\xe9", b"\xff=1", "b=caf\u00e9\u20ac\U0001f36a".encode(), "c=\uef80\uefff".encode(), b"d=\xed\xa0\x80"],
        [b"a=\x09tab\tinside"],
        [b"a=" + b"x" * 4095],
    ],
)
def test_round_trip(headers: list[bytes]) -> None:
    """Every odd cookie is the same after a save and a load, field by field and on the wire."""
    jar = SessionCookieJar(clock=lambda: NOW)
    jar.store(headers, URL)
    again = reloaded(jar)
    assert len(jar) > 0
    assert again.dump() == jar.dump()
    assert again.header(URL) == jar.header(URL)
    assert again.header(URL) is not None


def test_foreign_partition_survives() -> None:
    """A cookie of another site's partition is kept, though it is never sent."""
    jar = SessionCookieJar(clock=lambda: NOW)
    jar.set("a", "b", domain="www.shop.example", secure=True, partition_key="https://other.example")
    assert reloaded(jar).dump() == jar.dump()


def test_unknown_fields_survive() -> None:
    """What a newer version wrote into a cookie is still there after a load and a save."""
    cookie = Cookie.model_validate({"name": "a", "value": "b", "domain": "shop.example", "priority": "High"})
    jar = SessionCookieJar([cookie], clock=lambda: NOW)
    assert reloaded(jar).dump() == [cookie]


def test_dump_is_in_creation_order() -> None:
    """The cookies come by creation, whatever was changed since."""
    now = [NOW]
    jar = SessionCookieJar(clock=lambda: now[0])
    jar.store([b"a=1", b"b=1; Domain=shop.example"], URL)
    now[0] -= 5
    jar.store([b"c=1"], URL)
    now[0] += 10
    jar.store([b"a=2"], URL)
    assert [cookie.name for cookie in jar.dump()] == ["c", "a", "b"]


def test_expired_are_not_restored() -> None:
    """An expired cookie of a record is left out, without a word, also one that expired at the epoch."""
    refusals: list[str] = []
    cookies = [
        Cookie(name=str(expires), value="v", domain="a.example", expires=expires) for expires in (0.0, NOW, None)
    ]
    jar = SessionCookieJar(cookies, clock=lambda: NOW, on_refused=refusals.append)
    assert [cookie.name for cookie in jar] == ["None"]
    assert refusals == []


def test_restore_refuses() -> None:
    """A cookie that no site could set is refused at this door too, and the others are kept."""
    refusals: list[str] = []
    cookies = [
        Cookie(name="a", value="1", domain="co.uk", host_only=False),
        Cookie(name="b", value="1", domain="co.uk"),
        Cookie(name="c", value="1\n", domain="shop.example"),
        Cookie(name="__Host-d", value="1", domain="shop.example"),
        Cookie(name="e", value="1", domain="shop.example"),
    ]
    jar = SessionCookieJar(on_refused=refusals.append)
    jar.restore(cookies)
    assert [cookie.name for cookie in jar] == ["b", "e"]
    assert refusals == ["public_suffix", "malformed", "prefix"]


def test_restore_replaces() -> None:
    """What the jar held before is gone after a restore."""
    jar = SessionCookieJar()
    jar.set("old", "1", domain="shop.example")
    jar.restore([Cookie(name="new", value="1", domain="shop.example")])
    assert jar.header(urlsplit("https://shop.example/")) == b"new=1"
