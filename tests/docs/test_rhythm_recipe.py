"""The recipe of a person's rhythm, as the documentation shows it: by a moved clock, and in one short crawl."""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, Profile, SessionConfig, SessionManager
from tests.support.crawl import crawl, sqlite_url
from tests.support.docs_pages import blocks, page_named
from tests.support.site import Site
from tests.support.spiders.pages import Pages

(RECIPE,) = (block for block in blocks(page_named("rhythm")) if block.file)
_names: dict[str, Any] = {"__name__": "rhythm"}
exec(RECIPE.text, _names)
Rhythm: Any = _names["Rhythm"]

NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc).timestamp()


class Person:
    """A session under the recipe, on a clock of its own that jumps to each next request."""

    def __init__(self, now: float = NOON, *, seed: int = 7, zone: str | None = None, **numbers: Any) -> None:
        self.now = now
        self.config = Rhythm.from_crawler(get_crawler())
        self.config.random = random.Random(seed)
        self.config.clock = lambda: self.now
        for name, value in numbers.items():
            setattr(self.config, name, value)
        self.session = BrowserSession("alice", profile=Profile(timezone=zone))

    @property
    def drawn(self) -> Any:
        """What the recipe keeps in the session."""
        return self.session.data["rhythm"]

    def delays(self, pages: int) -> list[float]:
        """Read *pages* pages, each when its time has come, and return the seconds after each."""
        found = []
        for _ in range(pages):
            found.append(self.config.delay(self.session))
            self.now += found[-1]
        return found


def test_pages_take_a_varying_time() -> None:
    """Within a visit, the seconds on a page spread around what is usual for this session."""
    person = Person(visit=(200, 200), hours=(0, 24))
    delays = person.delays(199)
    usual = person.drawn["usual"]
    assert 6 <= usual <= 15
    assert 0.9 * usual < mean(delays) < 1.4 * usual
    assert len(set(delays)) == 199
    assert max(delays) > 2 * min(delays) > 0


def test_sessions_differ() -> None:
    """Each session draws what is usual for it."""
    assert len({Person(seed=seed).delays(1)[0] for seed in range(5)}) == 5


def test_breaks_end_visits() -> None:
    """After as many pages as a visit has, there is a break, and then the next visit."""
    delays = Person(visit=(10, 30), usual=(1, 1), hours=(0, 24)).delays(200)
    breaks = [place for place, delay in enumerate(delays, 1) if delay >= 180]
    visits = [end - start for start, end in pairwise([0, *breaks])]
    assert len(visits) >= 6
    assert all(10 <= pages <= 30 for pages in visits)
    assert len(set(visits)) > 1
    assert all(delay < 180 or delay < 920 for delay in delays)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
def test_nights_are_slept_through(zone: str | None) -> None:
    """Over several days no request but the first has its time at night, by the clock of the session's timezone."""
    person = Person(zone=zone, usual=(60, 60))
    first, hours = person.now, set()
    while person.now < first + 4 * 24 * 3600:
        person.delays(1)
        local = datetime.fromtimestamp(person.now, ZoneInfo(zone) if zone else timezone.utc)
        hours.add(local.hour)
    assert hours == set(range(8, 22))


@pytest.mark.parametrize(("hour", "day"), [(3, 2), (23, 3)])
def test_a_night_ends_in_the_morning(hour: int, day: int) -> None:
    """Before and after midnight, the next request has its time in the first hour of the next morning."""
    person = Person(datetime(2026, 3, 2, hour, tzinfo=timezone.utc).timestamp())
    person.delays(1)
    woken = datetime.fromtimestamp(person.now, timezone.utc)
    assert (woken.day, woken.hour) == (day, 8)


def test_the_morning_comes_by_the_wall_clock() -> None:
    """In the night in which summer time begins, the morning is at eight, too."""
    zone = "Europe/Berlin"
    person = Person(datetime(2026, 3, 28, 23, tzinfo=ZoneInfo(zone)).timestamp(), zone=zone)
    person.delays(1)
    woken = datetime.fromtimestamp(person.now, ZoneInfo(zone))
    assert (woken.day, woken.hour) == (29, 8)


def test_requests_in_line_do_not_each_wait_for_the_morning() -> None:
    """Of several requests that stand in line in the evening, one waits through the night, those behind it no more."""
    person = Person(datetime(2026, 3, 2, 21, 55, tzinfo=timezone.utc).timestamp(), usual=(30, 30), visit=(99, 99))
    delays = [person.config.delay(person.session) for _ in range(20)]
    assert sum(delay > 3600 for delay in delays) == 1


def test_what_it_has_drawn_lasts() -> None:
    """Another run goes on with the same usual time, in the middle of the visit."""
    before = Person(visit=(10, 10), hours=(0, 24))
    before.delays(6)
    after = Person(seed=8, visit=(10, 10), hours=(0, 24), rest=(500, 500))
    usual = before.drawn["usual"]
    after.session.data.update(before.session.data)
    delays = after.delays(4)
    assert after.drawn["usual"] == usual
    assert [delay >= 500 for delay in delays] == [False, False, False, True]


class Brisk(Rhythm):  # type: ignore[misc]
    """The recipe, quick enough for a test, with notes of when each request went and how long the next one has to wait.

    A request reaches the site some time after it went: what lies between two arrivals may be shorter than the pause.
    """

    usual = (0.02, 0.02)
    visit = (3, 3)
    rest = (0.4, 0.4)
    hours = (0, 24)
    went: ClassVar[list[tuple[float, float]]] = []

    def delay(self, session: BrowserSession) -> float:
        moment, pause = time.monotonic(), float(super().delay(session))
        self.went.append((moment, pause))
        return pause


async def test_a_crawl_keeps_the_rhythm(site: Site, tmp_path: Path) -> None:
    """A real crawl pauses after each visit, and saves how far it has come."""
    assert issubclass(Brisk, SessionConfig)
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_CONFIG": Brisk, "SESSIONS_CONCURRENCY": 1}
    urls = [(site.url(f"/answer/{number}"), {"session_id": "alice"}) for number in range(8)]
    Brisk.went.clear()
    await crawl(Pages, settings, urls=urls)
    assert len(site.journal("/answer")) == len(Brisk.went) == 8
    assert [number for number, (_, pause) in enumerate(Brisk.went) if pause > 0.35] == [2, 5]
    for (earlier, pause), (later, _) in pairwise(Brisk.went):
        assert later - earlier >= pause
    async with SessionManager(tmp_path / "s.db") as manager:
        record = await manager.load_session("alice")
    assert record is not None
    assert record.data["rhythm"] == {"usual": 0.02, "left": 1}
