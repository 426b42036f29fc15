"""What listings contain of each row: for stores that read rows as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from scrapy_sessions.analytics.model import PoolCounts, summed
from scrapy_sessions.storage.base import Row

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo

Place: TypeAlias = tuple[float, str, str]
"""The sort key of a listing."""


def sort_key(row: Row) -> Place:
    """Return the sort key of *row* in a listing: the newest activity first, then by namespace and id."""
    return -row.last_activity, row.namespace, row.session_id


def sort_key_of(info: SessionInfo | None) -> Place | None:
    """Return the sort key of an entry."""
    return None if info is None else (-info["last_activity"], info["namespace"], info["session_id"])


def info_of(row: Row, now: float, location: str) -> SessionInfo:
    """Return the entry of *row* at *now* (UNIX seconds), of the store at *location*."""
    return {
        "session_id": row.session_id,
        "namespace": row.namespace,
        "pool": row.pool,
        "profile_name": row.profile_name,
        "status": row.status,
        "start_time": row.start_time,
        "last_activity": row.last_activity,
        "pages_visited": row.pages_visited,
        "actions_count": row.actions_count,
        "is_active": _is_active(row, now),
        "storage": location,
    }


def pools_of(rows: Iterable[Row], now: float) -> list[PoolCounts]:
    """Return *rows* counted by pool at *now*, ordered by namespace and pool (none first)."""
    counts = (
        PoolCounts(
            row.namespace, row.pool, {row.status: 1}, int(_is_active(row, now)), row.pages_visited, row.last_activity
        )
        for row in rows
    )
    pools = summed(counts, lambda pool: (pool.namespace, pool.pool or ""))
    return [pools[key] for key in sorted(pools)]


def _is_active(row: Row, now: float) -> bool:
    return row.status != "retired" and (row.expires_at is None or row.expires_at > now)
