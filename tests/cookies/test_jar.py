"""Reading and editing a jar from a spider."""

from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.exceptions import CookieConflict, InvalidCookie
from scrapy_sessions.models import Cookie

NOW = 1000.0
URL = urlsplit("https://www.shop.example/")


class Jar(SessionCookieJar):
    """A jar with a clock to set and a count of its changes."""

    def __init__(self, *headers: str) -> None:
        self.now = NOW
        self.changes = 0
        super().__init__(clock=lambda: self.now, on_change=self.count)
        self.store(headers, URL)
        self.changes = 0

    def count(self) -> None:
        self.changes += 1


def test_value_by_name() -> None:
    """A cookie's value is read by its name."""
    assert Jar("sid=1")["sid"] == "1"


def test_unknown_name() -> None:
    """A name that no cookie has is a KeyError."""
    with pytest.raises(KeyError, match="sid"):
        Jar("other=1")["sid"]


def test_expired_name() -> None:
    """An expired cookie isn't there."""
    jar = Jar("sid=1; Max-Age=10")
    jar.now += 10
    assert "sid" not in jar
    assert jar.get("sid") is None
    assert (len(jar), list(jar)) == (0, [])


def test_conflict() -> None:
    """Several cookies of a name with different values are a conflict, told by places and never by values."""
    jar = Jar("sid=secret1", "sid=secret2; Path=/a; Domain=shop.example")
    with pytest.raises(CookieConflict, match=r"'sid'.*shop\.example/a, www\.shop\.example/") as caught:
        jar["sid"]
    assert "secret" not in str(caught.value)


def test_same_value_is_no_conflict() -> None:
    """Several cookies of a name with one value have that value."""
    assert Jar("sid=1", "sid=1; Path=/a")["sid"] == "1"


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ({"path": "/a"}, "3"),
        ({"domain": "shop.example"}, "2"),
        ({"domain": ".Shop.Example"}, "2"),
        ({"domain": "www.shop.example", "path": "/"}, "1"),
        ({"domain": "other.example"}, "fallback"),
        ({"domain": "no host"}, "fallback"),
        ({"path": "/b"}, "fallback"),
    ],
)
def test_get(where: dict[str, str], value: str) -> None:
    """Get narrows by domain and path, and falls back on the default."""
    jar = Jar("sid=1", "sid=2; Domain=shop.example", "sid=3; Path=/a")
    assert jar.get("sid", "fallback", **where) == value


def test_contains() -> None:
    """Names are looked up, other things are not in a jar."""
    jar = Jar("sid=1")
    assert "sid" in jar
    assert "SID" not in jar
    assert 1 not in jar


def test_assignment_is_refused() -> None:
    """A cookie needs a domain: an assignment says what to use instead."""
    with pytest.raises(TypeError, match=r"set\('sid', …, domain=…\)"):
        Jar()["sid"] = "secret"


def test_iteration_allows_changes() -> None:
    """The cookies can be deleted while iterating over them."""
    jar = Jar("a=1", "b=2", "c=3")
    for cookie in jar:
        jar.delete(cookie.name)
    assert len(jar) == 0


@pytest.mark.parametrize(
    ("domain", "host_only", "expected"),
    [
        ("shop.example", None, ("shop.example", True)),
        (".shop.example", None, ("shop.example", False)),
        ("shop.example", False, ("shop.example", False)),
        (".shop.example", True, ("shop.example", True)),
        ("B\u00fccher.example", None, ("xn--bcher-kva.example", True)),
        ("co.uk", None, ("co.uk", True)),
        ("[::1]", None, ("::1", True)),
    ],
)
def test_set_domain(domain: str, host_only: bool | None, expected: tuple[str, bool]) -> None:
    """A leading dot makes a domain cookie, unless said otherwise."""
    jar = Jar()
    jar.set("a", "b", domain=domain, host_only=host_only)
    assert [(cookie.domain, cookie.host_only) for cookie in jar] == [expected]


def test_set_keeps_every_field() -> None:
    """All that set() is given is in the cookie, with the time of its making."""
    jar = Jar()
    fields: dict[str, Any] = {
        "domain": "shop.example",
        "path": "/a",
        "host_only": True,
        "expires": 5000.0,
        "secure": True,
        "http_only": True,
        "same_site": "Strict",
        "partition_key": "https://shop.example",
    }
    jar.set("a", "b", **fields)
    assert list(jar) == [Cookie(name="a", value="b", created=NOW, updated=NOW, **fields)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "", "value": ""}, "malformed"),
        ({"name": "a=b"}, "malformed"),
        ({"name": "a;b"}, "malformed"),
        ({"name": " a"}, "malformed"),
        ({"value": "secret;c"}, "malformed"),
        ({"value": "secret\n"}, "malformed"),
        ({"value": "secret "}, "malformed"),
        ({"value": "secret\ud800"}, "malformed"),
        ({"value": 5}, "malformed"),
        ({"same_site": "lax"}, "malformed"),
        ({"path": "a"}, "malformed"),
        ({"path": "/a\n"}, "malformed"),
        ({"domain": ""}, "malformed"),
        ({"domain": "shop example"}, "malformed"),
        ({"domain": "https://shop.example"}, "malformed"),
        ({"expires": float("nan")}, "malformed"),
        ({"expires": float("inf")}, "malformed"),
        ({"value": "secret" * 1000}, "too_large"),
        ({"value": "\u00e9" * 2048}, "too_large"),
        ({"domain": ".co.uk"}, "public_suffix"),
        ({"domain": ".localhost"}, "public_suffix"),
        ({"domain": ".127.0.0.1"}, "public_suffix"),
        ({"name": "__Host-a"}, "prefix"),
        ({"name": "__Host-a", "secure": True, "path": "/a"}, "prefix"),
        ({"name": "__Host-a", "secure": True, "domain": ".shop.example"}, "prefix"),
        ({"name": "__secure-a"}, "prefix"),
        ({"partition_key": "https://shop.example"}, "partitioned"),
    ],
)
def test_set_refuses(change: dict[str, Any], reason: str) -> None:
    """What no site could set is refused with its reason, and without the value in the message."""
    jar = Jar()
    with pytest.raises(InvalidCookie) as caught:
        jar.set(**{"name": "a", "value": "b", "domain": "shop.example", **change})
    assert caught.value.reason == reason
    assert "secret" not in f"{caught.value}{caught.value.__context__}"
    assert (len(jar), jar.changes) == (0, 0)


def test_set_of_the_past_deletes() -> None:
    """Setting a cookie that has expired deletes the one it would replace."""
    jar = Jar("a=1", "b=1")
    jar.set("a", "", domain="www.shop.example", expires=0)
    assert [cookie.name for cookie in jar] == ["b"]


def test_add_takes_a_cookie_as_it_is() -> None:
    """A cookie added keeps its creation; the change is now."""
    jar = Jar()
    jar.add(Cookie(name="a", value="b", domain="shop.example", created=5.0, updated=6.0))
    assert [(cookie.created, cookie.updated) for cookie in jar] == [(5.0, NOW)]


@pytest.mark.parametrize("domain", [".shop.example", "Shop.example", "b\u00fccher.example"])
def test_add_refuses_a_domain_in_another_form(domain: str) -> None:
    """A Cookie's domain is canonical: another form would never be sent, so it is refused."""
    with pytest.raises(InvalidCookie) as caught:
        Jar().add(Cookie(name="a", value="b", domain=domain))
    assert caught.value.reason == "malformed"


def test_overwriting_keeps_the_creation() -> None:
    """A cookie replaced keeps the time of its creation and gets that of its change."""
    jar = Jar("a=1; Path=/", "b=1; Path=/")
    jar.now += 5
    jar.store(["a=2; Path=/"], URL)
    assert [(cookie.name, cookie.value, cookie.created, cookie.updated) for cookie in jar] == [
        ("a", "2", NOW, NOW + 5),
        ("b", "1", NOW, NOW),
    ]


def test_an_expired_cookie_is_not_overwritten() -> None:
    """A cookie that comes after the old one's end is a new one."""
    jar = Jar("a=1; Max-Age=10")
    jar.now += 10
    jar.store(["a=1"], URL)
    assert [cookie.created for cookie in jar] == [NOW + 10]


@pytest.mark.parametrize(
    "header",
    ["a=1; Path=/b", "a=1; Domain=www.shop.example", "a=1; Domain=shop.example", "a=1; Secure; Partitioned", "A=1"],
)
def test_identity(header: str) -> None:
    """Name, path, domain, host_only and partition make a cookie another one."""
    jar = Jar("a=0")
    jar.store([header], URL)
    assert sorted(cookie.value for cookie in jar) == ["0", "1"]


def test_deleted_after_its_end() -> None:
    """An expired cookie that the site deletes doesn't come back when the clock is set back."""
    jar = Jar("a=1; Max-Age=10")
    jar.now += 10
    jar.store(["a=; Max-Age=0"], URL)
    assert jar.changes == 0
    jar.now -= 10
    assert "a" not in jar


@pytest.mark.parametrize("end", ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"])
def test_site_deletes(end: str) -> None:
    """A cookie that comes expired deletes the one it would replace, and no other."""
    jar = Jar("a=1", "a=2; Path=/a", "b=3")
    jar.store([f"a=; {end}"], URL)
    assert sorted(cookie.value for cookie in jar) == ["2", "3"]
    assert jar.changes == 1


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ({}, ["b"]),
        ({"path": "/a"}, ["a", "a", "b"]),
        ({"domain": "shop.example"}, ["a", "a", "b"]),
        ({"domain": ".www.shop.example", "path": "/"}, ["a", "a", "b"]),
        ({"domain": "other.example"}, ["a", "a", "a", "b"]),
    ],
)
def test_delete(where: dict[str, str], left: list[str]) -> None:
    """Delete narrows by domain and path, and returns how many cookies went."""
    jar = Jar("a=1", "a=2; Domain=shop.example", "a=3; Path=/a", "b=4")
    assert jar.delete("a", **where) == 4 - len(left)
    assert sorted(cookie.name for cookie in jar) == left


def test_clear() -> None:
    """Clear empties the jar and returns how many cookies it held."""
    jar = Jar("a=1", "b=2; Domain=shop.example")
    assert (jar.clear(), len(jar)) == (2, 0)


def test_clear_a_domain() -> None:
    """Clearing a domain takes its host-only cookies too, and leaves its subdomains' and its parents'."""
    jar = Jar("a=1", "b=2; Domain=www.shop.example", "c=3; Domain=shop.example")
    jar.set("d", "4", domain="a.www.shop.example")
    assert jar.clear("www.shop.example") == 2
    assert [cookie.name for cookie in jar] == ["c", "d"]


def test_clear_session_cookies() -> None:
    """The cookies without an expiry go, as when a browser is closed."""
    jar = Jar("a=1", "b=2; Max-Age=60")
    assert jar.clear_session_cookies() == 1
    assert [cookie.name for cookie in jar] == ["b"]


def test_repr_shows_the_number_only() -> None:
    """No name or value is in a jar's repr."""
    assert repr(SessionCookieJar(Jar("sid=secret", "b=1").dump())) == "<SessionCookieJar: 2 cookies>"


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ("a=1", 0),
        ("a=2", 1),
        ("a=1; HttpOnly", 1),
        ("a=1; Secure", 1),
        ("a=1; SameSite=Lax", 1),
        ("a=1; Max-Age=60", 1),
        ("b=1", 1),
        ("b=1; Max-Age=0", 0),
        ("b=1; Domain=com", 0),
    ],
)
def test_change_by_a_response(header: str, changes: int) -> None:
    """A Set-Cookie is a change if the jar's content is another one after it."""
    jar = Jar("a=1")
    version = jar.version
    jar.now += 5
    jar.store([header], URL)
    assert jar.changes == changes
    assert (jar.version != version) is bool(changes)


def test_unknown_field_is_a_change() -> None:
    """A cookie that differs in a field of a newer version is another content."""
    jar = Jar("a=1")
    jar.add(Cookie.model_validate({**jar.dump()[0].model_dump(), "priority": "High"}))
    assert jar.changes == 1


def test_moved_expiry_is_a_change() -> None:
    """The same Max-Age later makes a later expiry, which is worth saving."""
    jar = Jar("a=1; Max-Age=60")
    jar.now += 5
    jar.store(["a=1; Max-Age=60"], URL)
    assert jar.changes == 1


def test_one_response_is_one_change() -> None:
    """Several cookies of one response are told once."""
    jar = Jar()
    jar.store(["a=1", "b=2", "\x00", "c=3"], URL)
    assert jar.changes == 1


@pytest.mark.parametrize("use", [lambda jar: jar.header(URL), list, len, SessionCookieJar.dump, lambda jar: jar["a"]])
def test_use_is_no_change(use: Any) -> None:
    """Sending and reading change nothing."""
    jar = Jar("a=1")
    version = jar.version
    use(jar)
    assert (jar.changes, jar.version) == (0, version)


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (lambda jar: jar.delete("a"), 1),
        (lambda jar: jar.delete("x"), 0),
        (lambda jar: jar.clear(), 1),
        (lambda jar: jar.clear("x.example"), 0),
        (lambda jar: jar.clear_session_cookies(), 1),
        (lambda jar: jar.set("a", "2", domain="www.shop.example"), 1),
        (lambda jar: jar.set("a", "1", domain="www.shop.example"), 0),
        (lambda jar: jar.restore([]), 0),
    ],
)
def test_change_by_an_edit(edit: Any, changes: int) -> None:
    """An edit is told once if it changed something; restore is for the one who saves, and not told."""
    jar = Jar("a=1")
    edit(jar)
    assert jar.changes == changes


def test_no_headers_ask_for_no_time() -> None:
    """A response without Set-Cookie costs nothing, not even a look at the clock."""
    asked = count(1)
    jar = SessionCookieJar(clock=lambda: float(next(asked)))
    before = next(asked)
    jar.store((), URL)
    assert next(asked) == before + 1
