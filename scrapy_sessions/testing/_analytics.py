"""The contract of a store with analytics."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, HOUR, Event, HourCounts, hour_of
from scrapy_sessions.storage.abilities import AnalyticsStore, Batch
from scrapy_sessions.testing._base import BaseContract, Clock, make_row

_NOW = hour_of(Clock().now)


def _row(session_id: str = "alice", hour: int = _NOW, pool: str | None = "p", **numbers: Any) -> HourCounts:
    return HourCounts(numbers.pop("namespace", "shop"), pool, session_id, hour, **numbers)


def _event(time: float, session_id: str = "alice", **columns: Any) -> Event:
    return Event(
        columns.pop("namespace", "shop"),
        session_id,
        columns.pop("pool", "p"),
        time,
        columns.pop("kind", "login"),
        **columns,
    )


class AnalyticsContract(BaseContract, ability=AnalyticsStore):
    """The tests of :class:`~scrapy_sessions.storage.AnalyticsStore`. They are skipped for other stores."""

    async def test_analytics_are_empty_at_first(self, store: AnalyticsStore) -> None:
        """A new store has no counters, events or pools, and adding nothing is allowed."""
        await store.add_analytics([], [])
        assert await store.hour_counts(None) == []
        assert await store.events(None) == []
        assert await store.pool_counts(None, now=0.0) == []

    async def test_hour_is_kept_as_it_is(self, store: AnalyticsStore) -> None:
        """Every counter is returned in its own field, and a missing pool is returned as None."""
        numbers: dict[str, Any] = {name: number + 2 for number, name in enumerate(COUNTERS)}
        rows = [_row("a", responses={200: 7, 503: 1}, **numbers), _row("b", pool=None, latency=0.5)]
        await store.add_analytics(rows, [])
        assert await store.hour_counts("shop") == rows[::-1]

    async def test_hours_add_up(self, store: AnalyticsStore) -> None:
        """Counters of the same hour, pool and session are summed, by status too; other counters aren't."""
        numbers: dict[str, Any] = {name: number + 2 for number, name in enumerate(COUNTERS)}
        row = _row(responses={200: 1}, **numbers)
        await store.add_analytics([row, row], [])
        await store.add_analytics([replace(row, responses={200: 2, 404: 5})], [])
        doubled: dict[str, Any] = {name: 3 * number for name, number in numbers.items()}
        assert await store.hour_counts("shop") == [_row(responses={200: 4, 404: 5}, **doubled)]
        others = [_row("bob"), _row(pool="q"), _row(pool=None), _row(hour=_NOW + HOUR), _row(namespace="news")]
        await store.add_analytics([replace(other, requests=1) for other in others], [])
        assert [found.requests for found in await store.hour_counts(None)].count(1) == 5

    async def test_counters_are_copied(self, store: AnalyticsStore) -> None:
        """The store copies the counters: the caller may change its objects afterwards."""
        responses = {200: 1}
        await store.add_analytics([_row(responses=responses)], [])
        responses[200] = 99
        assert (await store.hour_counts("shop"))[0].responses == {200: 1}

    async def test_many_at_once_add_up(self, store: AnalyticsStore) -> None:
        """Fifty writes at once lose nothing."""
        writes = (store.add_analytics([_row(requests=1, responses={200: 2})], [_event(float(n))]) for n in range(50))
        await asyncio.gather(*writes)
        (row,) = await store.hour_counts("shop")
        assert (row.requests, row.responses) == (50, {200: 100})
        assert len(await store.events("shop")) == 50

    async def test_a_batch_is_added_once(self, store: AnalyticsStore) -> None:
        """A batch that is repeated, or late, isn't added again; those of other writers are."""
        for batch in (Batch("a", 1), Batch("a", 1), Batch("a", 5), Batch("a", 4), Batch("b", 1), None):
            await store.add_analytics([_row(requests=1, responses={200: 1})], [_event(1.0)], batch)
        (row,) = await store.hour_counts("shop")
        assert (row.requests, row.responses) == (4, {200: 4})
        assert len(await store.events("shop")) == 4

    async def test_hours_are_found_by_time_and_namespace(self, store: AnalyticsStore) -> None:
        """Hours are filtered by *since*, *until* and namespace, and ordered by hour, namespace, pool and id."""
        rows = [_row(hour=_NOW + n * HOUR, requests=n) for n in range(4)]
        other = _row("zoe", hour=_NOW + HOUR, pool=None, namespace="news")
        await store.add_analytics([*rows[::-1], other], [])
        assert await store.hour_counts("shop") == rows
        assert await store.hour_counts("shop", _NOW + HOUR) == rows[1:]
        assert await store.hour_counts("shop", _NOW + HOUR, _NOW + 3 * HOUR) == rows[1:3]
        assert await store.hour_counts(None, _NOW + 1.0, _NOW + HOUR + 1.0) == [other, rows[1]]

    async def test_hours_by_pool(self, store: AnalyticsStore) -> None:
        """With by_session=False there is one row per hour and pool: the sum of its sessions, including folded rows."""
        rows = [_row("a", requests=1, responses={200: 1}), _row("b", requests=2, responses={200: 2, 404: 1})]
        more = [_row(FOLDED, requests=4), _row("c", pool=None, latency=0.5), _row("a", _NOW + HOUR, requests=8)]
        await store.add_analytics([*rows, *more, _row("a", namespace="news")], [])
        assert await store.hour_counts("shop", by_session=False) == [
            _row(FOLDED, pool=None, latency=0.5),
            _row(FOLDED, requests=7, responses={200: 3, 404: 1}),
            _row(FOLDED, _NOW + HOUR, requests=8),
        ]
        assert [row.requests for row in await store.hour_counts("shop", _NOW + HOUR, by_session=False)] == [8]

    async def test_events_are_kept_newest_first(self, store: AnalyticsStore) -> None:
        """Events are returned complete, the newest first; of one moment, the last written first."""
        first, second = _event(_NOW + 1.0, detail="one"), _event(_NOW + 1.0, kind="retired", pool=None)
        later, other = _event(_NOW + 2.0, "bob"), _event(_NOW + 3.0, namespace="news")
        await store.add_analytics([], [later, first])
        await store.add_analytics([], [second, other])
        assert await store.events("shop") == [later, second, first]
        assert await store.events("shop", limit=1) == [later]
        assert await store.events("shop", _NOW + 1.5) == [later]
        assert await store.events(None, _NOW + 1.0, 2) == [other, later]

    async def test_events_of_no_session(self, store: AnalyticsStore) -> None:
        """An event without a session, which is one of a run, is returned as it was added."""
        event = _event(_NOW + 1.0, FOLDED, pool=None, kind="run_started", detail="00000001 shop")
        await store.add_analytics([], [event])
        assert await store.events("shop") == [event]

    async def test_old_hours_and_events_are_dropped(self, store: AnalyticsStore) -> None:
        """Rows and events older than the retention are deleted in a new hour; younger ones are kept."""
        store.hours_retention, store.events_retention = 2.0 * HOUR, 3.0 * HOUR
        await store.add_analytics([_row(hour=_NOW, requests=1, responses={200: 1})], [_event(float(_NOW))])
        await self.pass_time(2.0 * HOUR)
        now = _NOW + 2 * HOUR
        young = _row(hour=now, requests=2)
        await store.add_analytics([young, _row(hour=now - HOUR)], [_event(float(now))])
        assert (await store.hour_counts("shop"))[-1] == young
        await self.pass_time(1.0 * HOUR)
        await store.add_analytics([young], [])
        assert [row.hour for row in await store.hour_counts("shop")] == [now]
        assert [event.time for event in await store.events("shop")] == [now]

    async def test_oldest_sessions_are_folded_into_their_pool(self, store: AnalyticsStore) -> None:
        """Beyond the bound, the rows of the oldest hours are summed into one row per pool."""
        store.max_hour_rows = 20
        batches = [
            [
                _row(
                    f"s{n}", _NOW - (3 - hour) * HOUR, "pq"[n % 2], requests=n, latency=0.5, responses={200: n, 404: 1}
                )
                for n in range(8)
            ]
            for hour in range(4)
        ]
        for batch in batches:
            await store.add_analytics(batch, [])
        found = await store.hour_counts("shop")
        assert len(found) <= 20
        assert found[-8:] == sorted(batches[-1], key=lambda row: (row.pool, row.session_id))
        oldest = [row for row in found if row.hour == _NOW - 3 * HOUR]
        assert oldest == [
            _row(FOLDED, _NOW - 3 * HOUR, "p", requests=12, latency=2.0, responses={200: 12, 404: 4}),
            _row(FOLDED, _NOW - 3 * HOUR, "q", requests=16, latency=2.0, responses={200: 16, 404: 4}),
        ]
        assert sum(row.requests for row in found) == 4 * 28
        assert sum(row.responses[404] for row in found) == 32

    async def test_a_folded_hour_takes_more(self, store: AnalyticsStore) -> None:
        """Late counters of a folded hour are added to it, and folded again."""
        store.max_hour_rows = 2
        for _ in range(2):
            await store.add_analytics([_row(f"s{n}", requests=1, responses={200: 1}) for n in range(5)], [])
        assert await store.hour_counts("shop") == [_row(FOLDED, requests=10, responses={200: 10})]

    async def test_more_pools_than_rows(self, store: AnalyticsStore) -> None:
        """When all rows are folded, the oldest hours are deleted."""
        store.max_hour_rows = 3
        for hour in range(3):
            await store.add_analytics([_row("s", _NOW - (2 - hour) * HOUR, pool) for pool in ("p", "q")], [])
        assert [(row.hour, row.pool) for row in await store.hour_counts("shop")] == [(_NOW, "p"), (_NOW, "q")]

    async def test_only_the_newest_events_are_kept(self, store: AnalyticsStore) -> None:
        """Each namespace keeps its newest events, however many events another one writes."""
        store.max_events = 5
        await store.add_analytics([], [_event(_NOW + 0.5, namespace="news")])
        for n in range(20):
            await store.add_analytics([], [_event(float(_NOW + n), f"s{n}")])
        assert [event.session_id for event in await store.events("shop")] == ["s19", "s18", "s17", "s16", "s15"]
        assert len(await store.events("news")) == 1

    async def test_pools_are_counted(self, store: Any) -> None:
        """Sessions are counted by pool and status; expired sessions are not active."""
        await store.save(
            [
                make_row("a", pool="p", pages_visited=2, last_activity=7.0),
                make_row("b", pool="p", status="new", pages_visited=3, expires_at=9.0, expires_by="max_age"),
                make_row("c", pool="p", status="retired", last_activity=5.0),
                make_row("d"),
                make_row("e", namespace="news"),
            ]
        )
        named, pool = await store.pool_counts("shop", now=10.0)
        assert (named.pool, named.sessions, named.active) == (None, 1, 1)
        assert (pool.pool, pool.by_status) == ("p", {"ready": 1, "new": 1, "retired": 1})
        assert (pool.active, pool.pages, pool.last_activity) == (1, 5, 2000.0)
        assert [each.namespace for each in await store.pool_counts(None, now=8.0)] == ["news", "shop", "shop"]
        assert (await store.pool_counts("shop", now=8.0))[1].active == 2

    async def test_analytics_are_kept_without_their_sessions(self, store: Any) -> None:
        """Deleting a session keeps its counters and events."""
        await store.save([make_row("alice")])
        await store.add_analytics([_row(requests=1)], [_event(1.0)])
        await store.delete([make_row("alice").key])
        assert len(await store.hour_counts("shop")) == len(await store.events("shop")) == 1
