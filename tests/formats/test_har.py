"""HAR: the cookies at the end of a recording, by the rules of the jar."""

from __future__ import annotations

from typing import Any

import pytest

from scrapy_sessions import FormatError
from scrapy_sessions.formats.contents import Contents
from tests.support.formats import read_json

URL = "https://www.shop.example/a/b"
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
NOW = START + 1000
SECRET = "hunter2"


def entry(
    second: int = 0, url: str = URL, *, sent: Any = (), agent: str | None = None, took: float = 0, **response: Any
) -> dict[str, Any]:
    """One entry: begun *second* seconds after the start, answered *took* milliseconds later."""
    headers = [{"name": "User-Agent", "value": agent}] if agent else []
    return {
        "startedDateTime": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z",
        "time": took,
        "request": {"url": url, "headers": headers, "cookies": list(sent)},
        "response": {"headers": [], "cookies": [], **response},
    }


def sets(*values: str, name: str = "Set-Cookie") -> list[dict[str, str]]:
    return [{"name": name, "value": value} for value in values]


def pair(name: str, value: str = "1") -> dict[str, str]:
    return {"name": name, "value": value}


def read(*entries: dict[str, Any]) -> Contents:
    return read_json("har", {"log": {"version": "1.2", "entries": list(entries)}}, now=NOW)


def held(*entries: dict[str, Any]) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in read(*entries).cookies}


def test_set_cookie_passes_the_jar() -> None:
    """Host, default path and times of a cookie come from the request it answered; Max-Age counts from then."""
    (cookie,) = read(entry(10, headers=sets("sid=1; Max-Age=2000; HttpOnly; SameSite=Lax"))).cookies
    assert (cookie.domain, cookie.host_only, cookie.path, cookie.http_only) == ("www.shop.example", True, "/a", True)
    assert (cookie.created, cookie.updated, cookie.expires) == (START + 10, START + 10, START + 2010)


def test_rules_hold() -> None:
    """A cookie for a public suffix, or a Secure one over http, is refused; a suffix' own becomes host-only."""
    recording = read(
        entry(headers=sets("evil=1; Domain=example", "fit=1; Domain=shop.example")),
        entry(1, "http://other.example/", headers=sets("plain=1; Secure")),
        entry(2, "https://github.io/", headers=sets("own=1; Domain=github.io")),
    )
    assert [(cookie.name, cookie.host_only) for cookie in recording.cookies] == [("fit", False), ("own", True)]
    assert recording.notes == ["2 cookies of the recording break the rules and were refused"]


def test_the_last_one_wins_by_time() -> None:
    """Entries are applied by the time of their response, in any order; deletions and expiries are applied, too."""
    late, slow = entry(20, headers=sets("a=late")), entry(10, took=15_000, headers=sets("b=slow"))
    entries = [late, entry(10, headers=sets("a=early; Path=/a", "gone=1")), slow, entry(12, headers=sets("b=quick"))]
    ends = entry(30, headers=sets("gone=; Max-Age=0", "over=1; Max-Age=5"))
    assert held(ends, *entries) == {"a": "late", "b": "slow"}


def test_chromium_joins_headers() -> None:
    """Several Set-Cookie in one header, with line ends between, are several cookies."""
    assert held(entry(headers=sets("a=1\nb=2", name="set-cookie"))) == {"a": "1", "b": "2"}


def test_response_cookies_replace_missing_headers() -> None:
    """Where a recorder leaves the headers out, the cookies it lists count, with all they say."""
    listed = {
        **pair("a"),
        "domain": ".shop.example",
        "path": "/x",
        "httpOnly": True,
        "secure": True,
        "sameSite": "Strict",
        "expires": "2030-01-01T00:00:00.000Z",
    }
    (cookie,) = read(entry(cookies=[listed])).cookies
    assert (cookie.domain, cookie.host_only, cookie.path, cookie.expires) == ("shop.example", False, "/x", 1893456000)
    assert (cookie.http_only, cookie.secure, cookie.same_site) == (True, True, "Strict")
    assert held(entry(headers=sets("a=header"), cookies=[listed])) == {"a": "header"}


def test_requests_contain_cookies_set_before() -> None:
    """A cookie that was only sent is kept for its host with its last value; one set by the site has precedence."""
    recording = read(
        entry(0, sent=[pair("old", "1"), pair("sid", "stale")]),
        entry(1, headers=sets("sid=fresh; Path=/")),
        entry(2, sent=[pair("old", "2"), pair("sid", "x")]),
    )
    values = {cookie.name: (cookie.value, cookie.path) for cookie in recording.cookies}
    assert values["old"] == ("2", "/")
    assert values["sid"] == ("fresh", "/")
    assert recording.guessed == {("www.shop.example", "old"): URL}
    assert held(entry(headers=[], sent=[]) | {"request": {"url": URL, "headers": sets("a=1; b=2", name="Cookie")}}) == {
        "a": "1",
        "b": "2",
    }


def test_cached_answers_and_other_schemes_set_nothing() -> None:
    """What came from the browser's cache, or no network at all, changes no cookie."""
    cached = {**entry(headers=sets("a=1")), "_fromCache": "disk"}
    assert held(cached, entry(url="data:text/plain,x", headers=sets("b=1")), entry(url="about:blank")) == {}


def test_the_identity_of_the_browser_is_imported() -> None:
    """The first user agent of the recording is imported, unless it is no valid text."""
    assert read(entry(agent="Browser/1"), entry(1, agent="Other/2")).user_agent == "Browser/1"
    assert read(entry(agent="\ud800")).user_agent is None


def test_a_clock_ahead_makes_nothing_newer_than_now() -> None:
    """A recording from a clock that runs ahead counts as made now."""
    (cookie,) = read(entry(59 * 60, headers=sets("a=1"))).cookies
    assert cookie.updated == NOW


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"startedDateTime": "yesterday"}, "log.entries[0].startedDateTime"),
        ({"time": "long"}, "log.entries[0].time"),
        ({"request": {"url": "http://[::1/"}}, "log.entries[0].request.url"),
        ({"request": {}}, "log.entries[0].request.url"),
        ({"response": 5}, "log.entries[0].response"),
        ({"response": {"headers": [{"name": "Set-Cookie"}]}}, "log.entries[0].response.headers[0].value"),
        ({"response": {"cookies": [{**pair("a", f"{SECRET};x")}]}}, "log.entries[0].response.cookies[0].value"),
        ({"response": {"cookies": 5}}, "log.entries[0].response.cookies"),
        ({"response": {"headers": 5}}, "log.entries[0].response.headers"),
        ({"request": {"url": URL, "headers": [{"name": 5}]}}, "log.entries[0].request.headers[0].name"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], place: str) -> None:
    """The JSON path of what can't be read is named, and no value."""
    with pytest.raises(FormatError) as error:
        read({**entry(), **change})
    assert error.value.place == place
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("date", ["2026-01-01T00:00:10Z", "2026-01-01T01:00:10.1234567+01:00", "2026-01-01T00:00:10.1"])
def test_dates_of_all_browsers(date: str) -> None:
    """With or without fractions, with any zone: the second is the same."""
    (cookie,) = read({**entry(headers=sets("a=1")), "startedDateTime": date}).cookies
    assert int(cookie.created) == START + 10
