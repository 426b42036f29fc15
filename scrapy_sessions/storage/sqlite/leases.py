"""Leases in the SQLite file, and the tokens of leases and claims. The functions run in the store's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from scrapy_sessions.storage.abilities import Lease
from scrapy_sessions.storage.claiming import REMEMBERED, next_token
from scrapy_sessions.storage.sqlite.file import transaction

# A lease that ends later than the longest was written by another program, or by a wrong clock.
_TAKE = """
    INSERT INTO leases (namespace, name, token, expires_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
    WHERE expires_at <= ? OR expires_at > ?
"""
LONGEST = 86_400.0  # seconds
_RENEW = "UPDATE leases SET expires_at = ? WHERE namespace = ? AND name = ? AND token = ?"
_RELEASE = "DELETE FROM leases WHERE namespace = ? AND name = ? AND token = ?"
_FORGET = "DELETE FROM leases WHERE expires_at <= ?"
_LAST = "SELECT CAST(token AS INTEGER) FROM store"
_SET_LAST = """
    INSERT INTO store (id, epoch, token) VALUES (0, lower(hex(randomblob(8))), ?)
    ON CONFLICT DO UPDATE SET token = excluded.token
"""
_HIGHEST = 2**53


def new_tokens(connection: sqlite3.Connection, count: int, now: float) -> range:
    """Return *count* tokens. Call it in a transaction."""
    (last,) = connection.execute(_LAST).fetchone() or (0,)
    # Another program may have put anything there.
    first = next_token(last if 0 <= last < _HIGHEST else 0, now)
    connection.execute(_SET_LAST, (first + count - 1,))
    return range(first, first + count)


def epoch(connection: sqlite3.Connection) -> str:
    """Return the random text that was stored when the file was created."""
    (found,) = connection.execute("SELECT CAST(epoch AS TEXT) FROM store").fetchone() or ("",)
    return str(found)


def take(
    connection: sqlite3.Connection, clock: Callable[[], float], namespace: str, name: str, ttl: float
) -> Lease | None:
    # Not with RETURNING, which requires SQLite 3.35, and RHEL 9 has 3.34. Within a transaction it is the same.
    with transaction(connection):
        now = clock()  # after BEGIN, which may have waited as long as the busy timeout
        (token,) = new_tokens(connection, 1, now)
        values = (namespace, name, token, now + ttl, now, now + max(ttl, LONGEST))
        taken = connection.execute(_TAKE, values).rowcount == 1
        if taken:
            connection.execute(_FORGET, (now - REMEMBERED,))
    return Lease(namespace, name, token, now + ttl) if taken else None


def renew(connection: sqlite3.Connection, clock: Callable[[], float], lease: Lease, ttl: float) -> Lease | None:
    with transaction(connection):
        expires_at = clock() + ttl
        held = connection.execute(_RENEW, (expires_at, *lease[:3])).rowcount == 1
    return lease._replace(expires_at=expires_at) if held else None


def release(connection: sqlite3.Connection, lease: Lease) -> bool:
    with transaction(connection):
        return connection.execute(_RELEASE, lease[:3]).rowcount == 1
