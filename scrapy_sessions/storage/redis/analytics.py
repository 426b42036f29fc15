"""Analytics on a server: counters by hour, and events. See ``lua/add_analytics.lua`` for their keys."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import fields
from typing import Any

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, Event, HourCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.abilities import AnalyticsStore, Batch
from scrapy_sessions.storage.redis.layout import prefix
from scrapy_sessions.storage.redis.listing import namespaces
from scrapy_sessions.storage.redis.server import Server

# In one call of a script: of rows that are added, summed or read.
_ROWS = 500
_FOLDED = 500
_READ = 1000
_ORDER = 12  # characters before an event that order those of one moment
_FLOATS = frozenset(field.name for field in fields(HourCounts) if field.type == "float")


async def add(
    server: Server, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None, now: float
) -> None:
    """Add *hours* and *events*, unless those of *batch* were added before."""
    writer, number = batch or (os.urandom(8).hex(), 0)  # a call may be sent twice
    for namespace in sorted({row.namespace for row in hours} | {event.namespace for event in events}):
        rows = [_row_arguments(row) for row in hours if row.namespace == namespace]
        lines = [_event_arguments(event) for event in events if event.namespace == namespace]
        for part in range(0, max(len(rows), len(lines)), _ROWS):
            rows_now, lines_now = rows[part : part + _ROWS], lines[part : part + _ROWS]
            arguments = [text for each in (*rows_now, *lines_now) for text in each]
            # Each part counts by itself: a call that is repeated after a fault adds those that were not added.
            await server.run("add_analytics", namespace, now, f"{writer} {part}", number, len(rows_now), *arguments)


async def read_hours(
    server: Server, namespace: str | None, since: float | None, until: float | None, by_session: bool
) -> list[HourCounts]:
    """Return the counters of the hours from *since* on, before *until*."""
    lowest, highest = "-inf" if since is None else repr(since), "+inf" if until is None else f"({until!r}"
    rows = []
    for name in await _names(server, namespace):
        for hour in await server.command("ZRANGEBYSCORE", f"{prefix(name)}hours", lowest, highest):
            key = f"{prefix(name)}{'h' if by_session else 't'}:{int(hour)}"
            rows += [_row(server, name, int(hour), field, value) async for field, value in _fields(server, key)]
    return sorted(rows, key=lambda row: (row.hour, row.namespace, row.pool or "", row.session_id))


async def read_events(server: Server, namespace: str | None, since: float | None, limit: int | None) -> list[Event]:
    """Return the newest events from *since* on."""
    lowest = "-inf" if since is None else repr(since)
    found: list[Event] = []
    for name in await _names(server, namespace):
        bounds = ("LIMIT", 0, -1 if limit is None else limit)
        lines = await server.command("ZREVRANGEBYSCORE", f"{prefix(name)}events", "+inf", lowest, *bounds)
        found += [_event(server, name, line) for line in lines]
    return sorted(found, key=lambda event: -event.time)[:limit]


async def prune(server: Server, bounds: AnalyticsStore, now: float) -> None:
    """Delete what is beyond *bounds* at *now*."""
    rows: dict[tuple[int, str], int] = {}
    for name in await namespaces(server):
        start = prefix(name)
        await server.command("ZREMRANGEBYSCORE", f"{start}events", "-inf", f"({now - bounds.events_retention!r}")
        await server.command("ZREMRANGEBYRANK", f"{start}events", 0, -bounds.max_events - 1)
        for hour in map(int, await server.command("ZRANGE", f"{start}hours", 0, -1)):
            if hour < now - bounds.hours_retention:
                await _drop_hour(server, name, hour)
            else:
                rows[hour, name] = await server.command("HLEN", f"{start}h:{hour}")
    for hour, name in _oldest(rows, bounds.max_hour_rows):
        while await server.run("fold", name, hour, _FOLDED):
            pass
        rows[hour, name] = await server.command("HLEN", f"{prefix(name)}h:{hour}")
    for hour, name in _oldest(rows, bounds.max_hour_rows):  # every row is folded already
        await _drop_hour(server, name, hour)
        del rows[hour, name]


def _oldest(rows: dict[tuple[int, str], int], most: int) -> Iterable[tuple[int, str]]:
    """Yield the oldest hours as long as there are more than *most* *rows*. The caller reduces these meanwhile."""
    for place in sorted(rows):
        if sum(rows.values()) <= most:
            return
        yield place


async def _drop_hour(server: Server, namespace: str, hour: int) -> None:
    start = prefix(namespace)
    await server.command("UNLINK", f"{start}h:{hour}", f"{start}t:{hour}")
    await server.command("ZREM", f"{start}hours", hour)


async def _names(server: Server, namespace: str | None) -> list[str]:
    return [namespace] if namespace is not None else await namespaces(server)


async def _fields(server: Server, key: str) -> AsyncIterator[tuple[bytes, bytes]]:
    found: dict[bytes, bytes] = {}  # a scan may return a field twice
    cursor = -1
    while cursor:
        cursor, part = await server.call(lambda: server.client.hscan(key, max(cursor, 0), count=_READ))  # noqa: B023
        found.update(part)
    for each in found.items():
        yield each


def _row_arguments(row: HourCounts) -> tuple[str, ...]:
    numbers = " ".join(repr(getattr(row, name)) for name in COUNTERS)
    statuses = " ".join(f"{status}:{count}" for status, count in row.responses.items())
    session = "" if row.session_id == FOLDED else json.dumps(row.session_id)
    return str(row.hour), json.dumps(row.pool or ""), session, f"{numbers};{statuses}"


def _row(server: Server, namespace: str, hour: int, field: bytes, value: bytes) -> HourCounts:
    try:
        pool, _, session = field.decode().partition("\n")
        numbers, _, statuses = value.decode().partition(";")
        counters: dict[str, Any] = {
            name: float(text) if name in _FLOATS else int(float(text))
            for name, text in zip(COUNTERS, numbers.split(), strict=True)
        }
        return HourCounts(
            namespace,
            str(json.loads(pool)) or None,
            str(json.loads(session)) if session else FOLDED,
            hour,
            responses={int(status): int(count) for status, _, count in (s.partition(":") for s in statuses.split())},
            **counters,
        )
    except (ValueError, OverflowError, RecursionError):
        raise _malformed(server, f"{prefix(namespace)}h:{hour}") from None


def _event_arguments(event: Event) -> tuple[str, ...]:
    return repr(event.time), json.dumps([event.session_id, event.pool, event.time, event.kind, event.detail])


def _event(server: Server, namespace: str, line: bytes) -> Event:
    try:
        session_id, pool, time, kind, detail = json.loads(line[_ORDER:])
        return Event(namespace, str(session_id), pool if pool is None else str(pool), float(time), kind, str(detail))
    except (TypeError, ValueError, RecursionError):
        raise _malformed(server, f"{prefix(namespace)}events") from None


def _malformed(server: Server, key: str) -> StoreError:
    return StoreError(
        f"The session store {server.location} has analytics that this package doesn't write, in the key {key!r}: "
        f"another program has changed them. Delete the key. Sessions are not affected"
    )
