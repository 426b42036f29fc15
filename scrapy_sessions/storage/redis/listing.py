"""Listings and expired sessions. They read no body.

A listing is read in parts, so that no script holds the server for more than a millisecond or two. A session that is
saved meanwhile moves to the front, and may be missing.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from scrapy_sessions.storage.base import Expired, Key, Row
from scrapy_sessions.storage.listed import Place, sort_key
from scrapy_sessions.storage.redis.layout import NAMESPACES, Malformed, parsed, quoted
from scrapy_sessions.storage.redis.server import Server

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import Status

SetAside: TypeAlias = Callable[[Key, str], Awaitable[None]]
"""Called with what can't be read, and the reason."""

_PART = 500  # sessions that one script looks at
_ANY = "*"  # no pool is called that, in JSON, and no status
_LAST = b"\xff"  # after every id, which is UTF-8


async def namespaces(server: Server) -> list[str]:
    """Return all namespaces, ordered."""
    names = await server.command("SMEMBERS", NAMESPACES)
    return sorted(name.decode("utf-8", "replace") for name in names)


async def find(server: Server, session_id: str, set_aside: SetAside) -> list[Row]:
    """Return the sessions with the id *session_id*, without their bodies, ordered by namespace."""
    names = await namespaces(server)
    replies = await asyncio.gather(*(server.run("find", name, session_id) for name in names))
    return [
        row
        for name, columns in zip(names, replies, strict=True)
        if columns is not None
        for row in await _rows(name, [session_id.encode(), columns], set_aside)
    ]


async def read_page(
    server: Server,
    set_aside: SetAside,
    namespace: str | None,
    pool: str | None,
    status: Status | None,
    limit: int | None,
    start: Place | None,
) -> list[Row]:
    """Return up to *limit* sessions after *start*, without their bodies."""
    if limit == 0:
        return []
    names = [namespace] if namespace is not None else await namespaces(server)
    # First the same share of each namespace is read, and more of one whose share is used up.
    share = _PART if limit is None else min(limit // max(len(names), 1) + 1, _PART)
    pages = [_parts(server, set_aside, name, pool, status, share, start) for name in names]
    parts = [deque(part) for part in await asyncio.gather(*(anext(each, []) for each in pages))]
    found: list[Row] = []
    while any(parts) and (limit is None or len(found) < limit):
        # Up to the end of the part that ends first, the order is known.
        number = min((n for n, part in enumerate(parts) if part), key=lambda n: sort_key(parts[n][-1]))
        end = sort_key(parts[number][-1])
        heads = [[part.popleft() for _ in range(len(part)) if sort_key(part[0]) <= end] for part in parts]
        found += heapq.merge(*heads, key=sort_key) if len(heads) > 1 else heads[0]
        parts[number].extend(await anext(pages[number], []))
    return found[:limit]


async def _parts(
    server: Server,
    set_aside: SetAside,
    namespace: str,
    pool: str | None,
    status: Status | None,
    share: int,
    start: Place | None,
) -> AsyncIterator[list[Row]]:
    """Yield the sessions of *namespace* after *start*, *share* of them in a part. No part is empty."""
    score, after = b"", b""
    if start is not None:
        score = repr(start[0]).encode()
        if namespace <= start[1]:
            after = _LAST if namespace < start[1] else start[2].encode()
    filters = _ANY if pool is None else quoted(pool), status or _ANY
    more = b"1"
    while more:
        more, score, after, *found = await server.run("list", namespace, score, after, *filters, share, _PART)
        rows = await _rows(namespace, found, set_aside)
        if start is not None:
            rows = [row for row in rows if sort_key(row) > start]
        if rows:
            yield rows


async def expired(server: Server, namespace: str | None, set_aside: SetAside, now: float, limit: int) -> list[Expired]:
    """Return the result of :meth:`~scrapy_sessions.storage.SessionStore.expired`."""
    names = [namespace] if namespace is not None else await namespaces(server)
    parts = [await _expired(server, name, set_aside, now, limit) for name in names]
    rows = islice(heapq.merge(*parts, key=lambda row: (row.expires_at, row.namespace, row.session_id)), limit)
    return [
        Expired(row.key, row.revision, row.start_time, row.expires_by) for row in rows if row.expires_by is not None
    ]


async def _expired(server: Server, namespace: str, set_aside: SetAside, now: float, limit: int) -> list[Row]:
    rows: list[Row] = []
    seen = 0
    while len(rows) < limit:
        wanted = min(limit - len(rows), _PART)
        looked_at, gone, *found = await server.run("expired", namespace, now, seen, wanted)
        rows += await _rows(namespace, found, set_aside)
        if not looked_at:
            break
        seen += looked_at - gone
    return rows


async def _rows(namespace: str, found: Sequence[bytes], set_aside: SetAside) -> list[Row]:
    """Return the rows of *found*, ids and columns in turn. What can't be read is quarantined."""
    rows = []
    for session_id, columns in zip(found[::2], found[1::2], strict=True):
        key = Key(namespace, session_id.decode("utf-8", "surrogateescape"))
        try:
            rows.append(parsed(key, columns))
        except Malformed as fault:
            await set_aside(key, str(fault))
    return rows
