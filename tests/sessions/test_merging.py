"""Merging two records that grew apart: nothing that either side added is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, PersistentSession, SessionManager
from scrapy_sessions.models import Metrics
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.record_fields import RECORD

NAMES = st.sampled_from("abcd")
VALUES = st.dictionaries(NAMES, st.integers(0, 3))
COUNTS = st.integers(0, 1000)


def record(**fields: Any) -> PersistentSession:
    return PersistentSession(session_id="alice", **fields)


def cookie(name: str, value: str, updated: float = 0.0, **fields: Any) -> Cookie:
    return Cookie(name=name, value=value, domain="shop.example", updated=updated, **fields)


def cookies(merged: PersistentSession) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in merged.cookies}


@given(COUNTS, COUNTS, COUNTS)
def test_counters_add_what_each_added(base: int, mine: int, theirs: int) -> None:
    """Every counter of the merged record holds what was there and what each side added."""
    names = ("requests", "logins", "failures", "bytes", "latency")

    def grown(by: int) -> PersistentSession:
        metrics = Metrics(**dict.fromkeys(names, base + by), responses={"200": base + by})
        return record(pages_visited=base + by, metrics=metrics)

    merged = RECORD.merge(grown(0), grown(mine), grown(theirs))
    assert merged.pages_visited == base + mine + theirs
    assert [getattr(merged.metrics, name) for name in names] == [base + mine + theirs] * 5
    assert merged.metrics.responses == {"200": base + mine + theirs}


def test_responses_of_a_new_status_are_added() -> None:
    """A status that only one side saw is kept."""
    mine, theirs = record(metrics=Metrics(responses={"200": 1})), record(metrics=Metrics(responses={"404": 2}))
    assert RECORD.merge(None, mine, theirs).metrics.responses == {"200": 1, "404": 2}


@given(VALUES, VALUES, VALUES)
def test_mappings_merge_by_key(base: dict[str, int], mine: dict[str, int], theirs: dict[str, int]) -> None:
    """Of each key in data the changed side stands, deletions included; where both changed it, mine."""
    merged = RECORD.merge(record(data=base), record(data=mine), record(data=theirs)).data
    for key in {*base, *mine, *theirs}:
        expected = theirs.get(key) if mine.get(key) == base.get(key) else mine.get(key)
        assert merged.get(key) == expected


@given(VALUES, VALUES)
def test_a_side_that_changed_nothing_adds_nothing(base: dict[str, int], theirs: dict[str, int]) -> None:
    """If I changed nothing, their record stands as it is."""
    old = record(data=base, cookies=[cookie(name, str(value)) for name, value in base.items()])
    new = record(data=theirs, cookies=[cookie(name, str(value)) for name, value in theirs.items()], revision=4)
    assert RECORD.merge(old, old, new) == new


def test_headers_and_storages_merge_too() -> None:
    """Headers and storages are merged by origin, as data is by key."""
    for name in ("headers", "local_storage", "session_storage"):
        mine = record(**{name: {"https://a.example": {"x": "1"}}})
        theirs = record(**{name: {"https://b.example": {"y": "2"}}})
        merged = getattr(RECORD.merge(None, mine, theirs), name)
        assert merged == {"https://a.example": {"x": "1"}, "https://b.example": {"y": "2"}}
    mine, theirs = record(indexed_db={"https://a.example": [{}]}), record(indexed_db={"https://b.example": [{}]})
    assert RECORD.merge(None, mine, theirs).indexed_db == {"https://a.example": [{}], "https://b.example": [{}]}


def test_the_newest_cookie_stands() -> None:
    """Of a cookie that both sides changed, the one updated last stands, whoever saves."""
    base = record(cookies=[cookie("sid", "0", 1)])
    old, new = record(cookies=[cookie("sid", "old", 2)]), record(cookies=[cookie("sid", "new", 3)])
    assert cookies(RECORD.merge(base, old, new)) == {"sid": "new"}
    assert cookies(RECORD.merge(base, new, old)) == {"sid": "new"}


def test_cookies_of_both_sides_stand() -> None:
    """Cookies that each side added are all there, by age, and those at other paths are others."""
    mine = record(cookies=[cookie("a", "1", created=2), cookie("a", "2", path="/x", created=3)])
    theirs = record(cookies=[cookie("b", "3", created=1)])
    merged = RECORD.merge(None, mine, theirs).cookies
    assert [(c.name, c.path) for c in merged] == [("b", "/"), ("a", "/"), ("a", "/x")]


def test_a_deleted_cookie_stays_deleted() -> None:
    """A cookie that one side deleted, and the other left alone, is gone."""
    base, without = record(cookies=[cookie("sid", "1", 1)]), record()
    assert cookies(RECORD.merge(base, without, base)) == {}
    assert cookies(RECORD.merge(base, base, without)) == {}


def test_a_change_beats_a_deletion() -> None:
    """A cookie that one side deleted and the other changed is there, as changed."""
    base, without = record(cookies=[cookie("sid", "1", 1)]), record()
    changed = record(cookies=[cookie("sid", "2", 2)])
    assert cookies(RECORD.merge(base, without, changed)) == {"sid": "2"}
    assert cookies(RECORD.merge(base, changed, without)) == {"sid": "2"}


def test_a_higher_generation_beats_a_lower() -> None:
    """Cookies, headers and data of the newer login stand alone; counters still add up."""
    fields: dict[str, Any] = {"data": {"user": "old"}, "headers": {"https://a.example": {"X-Token": "old"}}}
    old = record(cookies=[cookie("sid", "old", 9), cookie("x", "y", 9)], pages_visited=2, **fields)
    new = record(cookies=[cookie("sid", "new", 1)], generation=1, pages_visited=3, data={"user": "new"})
    for merged in (RECORD.merge(None, old, new), RECORD.merge(None, new, old)):
        assert cookies(merged) == {"sid": "new"}
        assert merged.data == {"user": "new"}
        assert merged.headers == {}
        assert merged.generation == 1
        assert merged.pages_visited == 5


def test_identity_and_creation_are_those_stored() -> None:
    """Identity, policy, time of creation and revision are settled by the stored record."""
    mine = record(user_agent="mine", start_time=9, max_uses=9, revision=1, pool="mine", proxy="mine", language="mine")
    theirs = record(user_agent="theirs", start_time=5, max_uses=5, revision=7)
    merged = RECORD.merge(None, mine, theirs)
    assert (merged.user_agent, merged.start_time, merged.max_uses, merged.revision) == ("theirs", 5, 5, 7)
    assert (merged.pool, merged.proxy, merged.language) == (None, None, None)


def test_the_last_url_is_that_of_the_last_activity() -> None:
    """last_url goes with the later last_activity."""
    early, late = record(last_activity=1, last_url="early"), record(last_activity=2, last_url="late")
    for merged in (RECORD.merge(None, early, late), RECORD.merge(None, late, early)):
        assert (merged.last_activity, merged.last_url) == (2, "late")


def test_retired_by_either_is_retired() -> None:
    """A session that one side retired is retired, with that side's reason; that of the stored one goes first."""
    ready, gone = record(status="ready"), record(status="retired", retired_reason="blocked")
    assert RECORD.merge(ready, ready, gone).retired_reason == "blocked"
    merged = RECORD.merge(ready, gone, ready)
    assert (merged.status, merged.retired_reason) == ("retired", "blocked")
    other = record(status="retired", retired_reason="first")
    assert RECORD.merge(ready, gone, other).retired_reason == "first"


def test_put_back_into_use() -> None:
    """A session that was retired before, and isn't on one side, has been put back into use there."""
    ready, gone = record(status="ready"), record(status="retired", retired_reason="blocked")
    for merged in (RECORD.merge(gone, ready, gone), RECORD.merge(gone, gone, ready)):
        assert (merged.status, merged.retired_reason) == ("ready", None)


def test_a_new_session_becomes_ready() -> None:
    """A session that one side found ready is ready."""
    new, ready = record(status="new"), record(status="ready")
    assert RECORD.merge(new, ready, new).status == "ready"
    assert RECORD.merge(new, new, ready).status == "ready"


@given(st.lists(NAMES, max_size=5), st.lists(NAMES, max_size=5), st.lists(NAMES, max_size=5))
def test_actions_of_both_sides_stand(base: list[str], mine: list[str], theirs: list[str]) -> None:
    """What each side did follows what was done before, theirs first."""
    merged = RECORD.merge(
        record(actions_performed=base),
        record(actions_performed=base + mine),
        record(actions_performed=base + theirs),
    )
    assert merged.actions_performed == base + theirs + mine


def test_actions_of_a_bounded_history() -> None:
    """What I did is found though my history has dropped its oldest since."""
    base, mine, theirs = ["a", "b", "c"], ["b", "c", "d"], ["a", "b", "c", "e"]
    merged = RECORD.merge(*(record(actions_performed=actions) for actions in (base, mine, theirs)))
    assert merged.actions_performed == ["a", "b", "c", "e", "d"]


def test_merging_changes_neither_side() -> None:
    """The records that are merged stay as they were."""
    base, mine, theirs = (record(data={"a": n}, cookies=[cookie("sid", str(n), n)]) for n in range(3))
    before = [r.model_dump() for r in (base, mine, theirs)]
    RECORD.merge(base, mine, theirs)
    assert [r.model_dump() for r in (base, mine, theirs)] == before


def test_the_order_of_three_holders_does_not_matter() -> None:
    """Three holders that each added something end with the same whole, whoever saves first."""
    base = record(pages_visited=1, data={"x": 1})
    sides = [record(pages_visited=1 + n, data={"x": 1, str(n): n}, cookies=[cookie(str(n), "1", n)]) for n in (1, 2, 3)]
    results = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        merged = base
        for side in order:
            merged = RECORD.merge(base, sides[side], merged)
        results.append((merged.pages_visited, merged.data, cookies(merged)))
    assert results == [(7, {"x": 1, "1": 1, "2": 2, "3": 3}, {"1": "1", "2": "1", "3": "1"})] * 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=12))
def test_two_managers_interleaving_lose_nothing(tmp_path_factory: Any, steps: list[tuple[int, bool]]) -> None:
    """Whatever two managers on one file do in turn, with saves in between, all of it is there in the end."""
    path: Path = tmp_path_factory.mktemp("merge") / "s.db"

    async def scenario() -> None:
        managers = [SessionManager(path, namespace="shop") for _ in range(2)]
        async with managers[0], managers[1]:
            for number, (who, saves) in enumerate(steps):
                session = await managers[who].get("alice")
                session.cookies.set(f"c{number}", "1", domain="shop.example")
                session.data[str(number)] = who
                runtime_of(session).pages_visited += 1
                session.record(str(number))
                if saves:
                    await managers[who].flush()
        async with SessionManager(path, namespace="shop") as manager:
            record = await manager.load_session("alice")
            assert record is not None
            assert cookies(record) == {f"c{number}": "1" for number in range(len(steps))}
            assert record.data == {str(number): who for number, (who, _) in enumerate(steps)}
            assert record.pages_visited == len(steps)
            assert sorted(record.actions_performed) == sorted(map(str, range(len(steps))))

    asyncio.run(scenario())
