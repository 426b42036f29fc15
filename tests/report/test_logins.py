"""The duration of logins: single ones, and on average."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scrapy_sessions.analytics.model import HOUR, Event, HourCounts
from scrapy_sessions.models import Metrics
from scrapy_sessions.report import build, gather
from scrapy_sessions.report.gather import MOST_LOGINS
from scrapy_sessions.storage import Key, MemoryStore
from tests.support.report_stores import NOW, empty, record, save

DAY = 24 * HOUR


def login(session_id: str, ago: float, detail: str, *, pool: str | None = "catalog", kind: Any = "login") -> Event:
    return Event("shop", session_id, pool, NOW - ago, kind, detail)


def hour(session_id: str, hours_ago: int, seconds: float, logins: int = 1) -> HourCounts:
    start = int(NOW - hours_ago * HOUR)
    return HourCounts("shop", "catalog", session_id, start, logins=logins, login_seconds=seconds)


async def section(store: MemoryStore, **options: Any) -> str:
    """The section on logins in the page on *store*."""
    found = re.search(r'<section id="logins".*?</section>', await build(store, now=NOW, **options), re.DOTALL)
    assert found is not None
    return found[0]


def points(drawn: str) -> list[str]:
    """The titles of the single logins in the chart."""
    return re.findall(r"<g [^>]*><title>([^<]*)</title><circle ", drawn)


async def test_one_slow_login_is_shown() -> None:
    """A slow login is shown beside its hour's average, in the chart, in words and in the list."""
    store = empty()
    await save(store, record("a", pool="catalog", metrics=Metrics(logins=9)), record("b", metrics=Metrics(logins=1)))
    quick = [login("a", 2 * HOUR - 60 * n, "1.2 s") for n in range(9)]
    slow = login("b", 2 * HOUR - 900, "47.5 s", pool=None)
    await store.add_analytics([hour("a", 2, 10.8, logins=9), hour("b", 2, 47.5)], [*quick, slow])
    drawn = await section(store)
    assert points(drawn) == [
        *(f"a, 1.2 s, 2026-03-01 22:0{n} UTC" for n in range(9)),
        "b, 47.5 s, 2026-03-01 22:15 UTC",
    ]
    assert "10 logins, 5.8 s on average." in drawn
    assert "from the events: all are drawn. The slowest: b, 47.5 s, 2026-03-01 22:15 UTC." in drawn
    first = re.search(r"<caption>Logins by duration</caption>.*?<tbody><tr>(.*?)</tr>", drawn)
    assert first is not None
    assert re.findall(r">([^<>]+)<", first[1]) == ["b", "47.5 s", "2026-03-01 22:15", "(no pool)"]


async def test_the_height_of_a_point_is_the_duration() -> None:
    """Points share the bars' scale: the slowest is highest, and a point of the average is at the top of its bar."""
    store = empty()
    await store.add_analytics([hour("a", 1, 4.0)], [login("a", 1800, "4.0 s"), login("a", 1700, "8.0 s")])
    drawn = await section(store)
    heights = [float(y) for y in re.findall(r'<circle [^>]*cy="([\d.]+)" r="4" class="p one"/></g>', drawn)]
    (bar,) = re.findall(r'<rect [^>]*y="([\d.]+)"[^>]*class="f login"/>', drawn.partition("</ul>")[2])
    average, slowest = heights
    assert average == float(bar)
    assert slowest < average  # pixels from above


@pytest.mark.parametrize(
    "detail",
    ["", "soon", "1.3", "1.3 min", "-1.3 s", "nan s", "inf s", "1e9 s", "1.3 s or so", "٣.٣ s", "9" * 400 + ".0 s"],
)
async def test_a_detail_without_a_duration_is_left_out(detail: str) -> None:
    """A login without a readable duration has no point, and the page says so; the averages don't need it."""
    store = empty()
    await store.add_analytics([hour("a", 1, 2.0)], [login("a", 1800, detail)])
    report = await gather(store, now=NOW)
    assert (report.logins, report.logins_left_out) == ([], 0)
    drawn = await section(store)
    assert points(drawn) == []
    assert "a single login" not in drawn
    assert "The duration of single logins is not known" in drawn
    assert "1 logins, 2 s on average." in drawn


async def test_other_events_are_no_logins() -> None:
    """A failed login, or another event, is no point, whatever its detail looks like."""
    store = empty()
    await store.add_analytics([hour("a", 1, 2.0)], [login("a", 1800, "9.0 s", kind="login_failed")])
    assert (await gather(store, now=NOW)).logins == []


async def test_of_too_many_the_slowest_stay() -> None:
    """The number of points is bounded: the slowest are kept, slowest first, and the others are counted."""
    store = empty()
    events = [login(f"s-{n % 7}", 7000 - n, f"{n % 1000 / 10:.1f} s") for n in range(1000)]
    await store.add_analytics([hour("s-1", 2, 100.0)], events)
    report = await gather(store, now=NOW)
    assert [each.seconds for each in report.logins] == [(999 - n) / 10 for n in range(MOST_LOGINS)]
    assert report.logins[0].key == Key("shop", "s-5")
    assert report.logins_left_out == 1000 - MOST_LOGINS
    drawn = await section(store)
    assert len(points(drawn)) == MOST_LOGINS
    assert f"the slowest {MOST_LOGINS} of 1,000 are drawn" in drawn


async def test_points_are_of_the_hours_that_are_kept() -> None:
    """Events are kept longer than counters: a login long before the first bar isn't shown, one just before is."""
    store = empty()
    just_before = login("a", 3 * HOUR + 2, "2.0 s")
    await store.add_analytics([hour("a", 3, 2.0)], [login("a", 50 * DAY, "60.0 s"), just_before])
    assert [each.seconds for each in (await gather(store, now=NOW)).logins] == [2.0]
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)%"', await section(store))]
    assert [0 <= x <= 100 for x in places] == [True]


async def test_single_logins_alone_make_a_chart() -> None:
    """Events alone make a chart if no counter is left; a duration below 0.1 s is not shown as 0."""
    store = empty()
    await store.add_analytics([], [login("a", 40 * DAY, "0.0 s")])
    drawn = await section(store)
    assert points(drawn) == ["a, &lt;0.1 s, 2026-01-21 00:00 UTC"]
    assert "on average" not in drawn


async def test_a_report_on_a_pool_contains_only_its_logins() -> None:
    """A report on a pool and a time contains no login of another pool, or from before."""
    store = empty()
    events = [login("a", 1800, "1.0 s"), login("b", 1800, "5.0 s", pool="staff"), login("a", 9 * HOUR, "7.0 s")]
    await store.add_analytics([hour("a", 1, 1.0), hour("a", 9, 7.0)], events)
    report = await gather(store, pool="catalog", since=NOW - 2 * HOUR, now=NOW)
    assert [each.seconds for each in report.logins] == [1.0]


async def test_points_of_hostile_sessions_stay_small_text() -> None:
    """The id of a session is text in every place, and cut where it would make the page large."""
    store = empty()
    name = "<b>" + "&" * 200
    events = [login(name, 1800 + n, "1.0 s") for n in range(MOST_LOGINS)]
    await store.add_analytics([hour(name, 1, 1.0)], events)
    drawn = await section(store)
    assert "<b>" not in drawn
    assert len(drawn) < 250_000
