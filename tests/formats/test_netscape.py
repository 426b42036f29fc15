"""Netscape's cookies.txt: every field both ways, bad lines named, and Python's own reader."""

from __future__ import annotations

import urllib.request
from http.cookiejar import MozillaCookieJar
from pathlib import Path

import pytest

from scrapy_sessions import Cookie, FormatError, PersistentSession
from scrapy_sessions.formats import netscape
from scrapy_sessions.formats.registry import left_out, write
from tests.support.formats import load, read_text

SECRET = "hunter2"
LATE = 4_000_000_000.0
FULL = f"#HttpOnly_.shop.example\tTRUE\t/a\tTRUE\t2000000000\tsid\t{SECRET}"


def test_every_field_is_read() -> None:
    """A full line gives domain, subdomains, path, Secure, expiry, name, value and HttpOnly."""
    (cookie,) = load("netscape", FULL, now=5.0)
    assert cookie == Cookie(
        name="sid",
        value=SECRET,
        domain="shop.example",
        host_only=False,
        path="/a",
        expires=2_000_000_000.0,
        secure=True,
        http_only=True,
        created=5.0,
        updated=5.0,
    )


@pytest.mark.parametrize("expires", ["0", "", "-1"])
def test_session_cookies_are_not_dated(expires: str) -> None:
    """Each way in which tools write a session cookie gives one without an expiry."""
    (cookie,) = load("netscape", f"shop.example\tFALSE\t/\tFALSE\t{expires}\ta\tb")
    assert cookie.expires is None
    assert cookie.host_only


def test_what_other_tools_write_is_read() -> None:
    """Comments, blank lines, Windows' line ends, a byte order mark, lower case, a cut empty value, a huge date."""
    text = (
        "\ufeff# Netscape HTTP Cookie File\r\n\r\n# a comment\twith\ttabs\r\n"
        "Shop.example\ttrue\t/\tfalse\t1893456000.5\ta\t1\r\n"
        "shop.example\tFALSE\t/\tFALSE\t0\tempty\r\n"
        "shop.example\tFALSE\t/\tFALSE\t9223372036854775807\tlasting\tx\u2028y\x85z\n"
    )
    first, empty, lasting = load("netscape", text)
    assert (first.domain, first.host_only, first.expires, first.value) == ("shop.example", False, 1893456000.5, "1")
    assert (empty.name, empty.value) == ("empty", "")
    assert (lasting.expires, lasting.value) == (253402300799.0, "x\u2028y\x85z")


def test_a_port_is_left_out() -> None:
    """wget writes the port of its site beside the host: the cookie is read without it, which is noted."""
    contents = read_text("netscape", "shop.example:8080\tFALSE\t/\tFALSE\t0\ta\tb\n::1\tFALSE\t/\tFALSE\t0\ta\tb")
    assert [cookie.domain for cookie in contents.cookies] == ["shop.example", "::1"]
    assert contents.notes == ["line 1: its domain has a port, which was left out: cookies are for all ports"]


def test_an_address_is_never_shared() -> None:
    """An IP address has no subdomains: its cookie is for it only, with any flag."""
    (cookie,) = load("netscape", "127.0.0.1\tTRUE\t/\tFALSE\t0\ta\tb")
    assert cookie.host_only


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (f"shop.example FALSE / FALSE 0 a {SECRET}", "spaces in place of TABs"),
        (f"shop.example or not {SECRET}", "1 fields"),
        (f"shop.example\tFALSE\t/\tFALSE\t0\ta\t{SECRET}\tmore", "8 fields"),
        (f"shop.example\tmaybe\t/\tFALSE\t0\ta\t{SECRET}", "include subdomains"),
        (f"shop.example\tFALSE\t/\tno\t0\ta\t{SECRET}", "secure"),
        (f"shop.example\tFALSE\t/\tFALSE\tsoon\ta\t{SECRET}", "expires"),
        (f"shop.example\tFALSE\t/\tFALSE\tnan\ta\t{SECRET}", "expires"),
        (f"shop.example\tFALSE\tindex\tFALSE\t0\ta\t{SECRET}", "path"),
        (f"\tFALSE\t/\tFALSE\t0\ta\t{SECRET}", "domain"),
        (f"{SECRET} x\tFALSE\t/\tFALSE\t0\ta\tshop.example", "domain"),
        (f"not a host\tFALSE\t/\tFALSE\t0\ta\t{SECRET}", "domain"),
        (f"http://shop.example\tFALSE\t/\tFALSE\t0\ta\t{SECRET}", "domain is no host name"),
        (f"shop.example:port\tFALSE\t/\tFALSE\t0\ta\t{SECRET}", "domain is no host name"),
    ],
)
def test_a_bad_line_is_named(line: str, word: str) -> None:
    """A line that isn't a cookie is named by number and field; its value is not in the message."""
    with pytest.raises(FormatError, match=word) as error:
        load("netscape", f"# comment\n{FULL}\n{line}\n")
    assert error.value.place == "line 3"
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("character", ["\t", "\n", "\r"])
def test_what_would_break_a_line_is_refused_by_name(character: str) -> None:
    """A value with a TAB or a line's end can't be written: the cookie is named, its value isn't."""
    cookie = Cookie(name="odd", value=f"{SECRET}{character}x", domain="shop.example")
    with pytest.raises(FormatError, match=r"'odd' of shop\.example") as error:
        netscape.dump([cookie])
    assert SECRET not in str(error.value)


def test_an_expiry_in_1970_stays_one() -> None:
    """A cookie that expired in the first second doesn't become one without an expiry."""
    assert (
        load("netscape", netscape.dump([Cookie(name="a", value="b", domain="x.example", expires=0.5)]))[0].expires == 1
    )


def test_foreign_partitions_are_left_out() -> None:
    """A cookie in the partition of another site isn't written, and the note says so."""
    record = PersistentSession(
        session_id="alice",
        cookies=[
            Cookie(name=name, value="1", domain="shop.example", secure=True, partition_key=f"https://{site}")
            for name, site in (("own", "shop.example"), ("foreign", "other.example"))
        ],
    )
    assert [cookie.name for cookie in load("netscape", write("netscape", record))] == ["own"]
    assert left_out("netscape", record) == ["1 partitioned cookie"]


def test_python_reads_ours(tmp_path: Path) -> None:
    """``MozillaCookieJar`` loads what we write and sends it where we would; it drops session cookies, written as 0."""
    cookies = [
        Cookie(name="host", value="1", domain="www.shop.example", expires=LATE, http_only=True),
        Cookie(name="shared", value="2", domain="shop.example", host_only=False, expires=LATE),
        Cookie(name="elsewhere", value="3", domain="other.example", expires=LATE),
        Cookie(name="", value="nameless", domain="www.shop.example", expires=LATE),
        Cookie(name="ends", value="4", domain="www.shop.example"),
    ]
    file = tmp_path / "cookies.txt"
    file.write_text(netscape.dump(cookies))
    jar = MozillaCookieJar(file)
    jar.load()
    request = urllib.request.Request("http://www.shop.example/")
    jar.add_cookie_header(request)
    assert sorted((request.get_header("Cookie") or "").split("; ")) == ["host=1", "nameless", "shared=2"]
    assert jar._cookies["www.shop.example"]["/"]["host"].has_nonstandard_attr("HTTPOnly")  # type: ignore[attr-defined]


def test_ours_reads_pythons(tmp_path: Path) -> None:
    """What ``MozillaCookieJar`` saves comes back the same."""
    file, again = tmp_path / "cookies.txt", tmp_path / "again.txt"
    cookies = [
        Cookie(name="host", value="1", domain="www.shop.example", expires=LATE, http_only=True),
        Cookie(name="shared", value="2", domain="shop.example", host_only=False, expires=LATE, secure=True),
    ]
    file.write_text(netscape.dump(cookies))
    jar = MozillaCookieJar(file)
    jar.load()
    jar.save(again)
    assert sorted(load("netscape", again.read_text()), key=lambda cookie: cookie.name) == cookies
