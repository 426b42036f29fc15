"""Claims of exclusive pools in the SQLite file. The functions run in the store's thread, each in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeAlias

from scrapy_sessions.storage.abilities import Claim, Claims
from scrapy_sessions.storage.base import Row
from scrapy_sessions.storage.claiming import REMEMBERED
from scrapy_sessions.storage.sqlite.file import transaction
from scrapy_sessions.storage.sqlite.leases import LONGEST, new_tokens

_Clock: TypeAlias = Callable[[], float]

# `pool` is NULL for a session that has left its pool, and `expires_at` is then when it is forgotten.
_NEWER = "SELECT 1 FROM claims WHERE namespace = ? AND session_id = ? AND token > ?"
_ENROL = """
    INSERT INTO claims (namespace, session_id, pool, token, holder, expires_at) VALUES (?, ?, ?, 0, '', 0.0)
    ON CONFLICT DO UPDATE SET expires_at = CASE WHEN pool IS NULL THEN 0.0 ELSE expires_at END, pool = excluded.pool
    WHERE pool IS NOT excluded.pool
"""
_ENROLLED = "SELECT session_id FROM claims WHERE namespace = ? AND pool = ? ORDER BY session_id"
_LEAVE = """
    UPDATE claims SET pool = NULL, holder = '', token = ?, expires_at = ? WHERE namespace = ? AND session_id = ?
"""
_NEVER_CLAIMED = "DELETE FROM claims WHERE namespace = ? AND session_id = ? AND token = 0"
_FORGET = "DELETE FROM claims WHERE namespace = ? AND pool IS NULL AND expires_at <= ?"
_ENTER_AGAIN = """
    INSERT INTO claims (namespace, session_id, pool, token, holder, expires_at) VALUES (?, ?, ?, ?, ?, 0.0)
    ON CONFLICT DO UPDATE SET pool = excluded.pool, token = excluded.token, holder = excluded.holder
    WHERE token < excluded.token
"""
# The last term lets SQLite use the index of claimed sessions.
_OF_HOLDER = "WHERE namespace = ? AND pool = ? AND holder = ? AND holder != ''"
_MINE = f"SELECT session_id, token FROM claims {_OF_HOLDER}"
_FREE = """
    SELECT session_id FROM claims WHERE namespace = ? AND pool = ? AND expires_at <= ? AND holder != ?
    ORDER BY token, session_id LIMIT ?
"""
_COUNT = "SELECT count(*) FROM claims WHERE namespace = ? AND pool = ?"
_TAKE = "UPDATE claims SET token = ?, holder = ? WHERE namespace = ? AND session_id = ?"
_PROLONG = f"UPDATE claims SET expires_at = ? {_OF_HOLDER}"
_GIVE_BACK = """
    UPDATE claims SET token = ?, holder = '', expires_at = 0.0
    WHERE namespace = ? AND session_id = ? AND token = ? AND pool IS NOT NULL
"""
_UNUSE = "DELETE FROM processes WHERE namespace = ? AND pool = ? AND holder = ?"
# What ends later than the longest lease was written under a wrong clock: it would block its session until then.
_GONE = "DELETE FROM processes WHERE namespace = ? AND pool = ? AND (expires_at <= ? OR expires_at > ?)"
_FREE_THOSE_TO_COME = "UPDATE claims SET expires_at = 0.0 WHERE namespace = ? AND pool = ? AND expires_at > ?"
_USE = """
    INSERT INTO processes (namespace, pool, holder, place, expires_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET place = excluded.place, expires_at = excluded.expires_at
"""
_PROCESSES = "SELECT holder, place FROM processes WHERE namespace = ? AND pool = ? ORDER BY place"


def any_fenced(connection: sqlite3.Connection, rows: Sequence[Row], tokens: Sequence[int | None]) -> bool:
    """Whether there is a newer token for one of *rows* than the one of *tokens* beside it."""
    return any(
        token is not None and connection.execute(_NEWER, (row.namespace, row.session_id, token)).fetchone()
        for row, token in zip(rows, tokens, strict=True)
    )


def enrol(
    connection: sqlite3.Connection,
    clock: _Clock,
    namespace: str,
    pool: str,
    holder: str,
    session_ids: Sequence[str],
    ttl: float,
) -> list[str]:
    with transaction(connection):
        now = clock()
        place = _processes(connection, namespace, pool, now).get(holder)
        if place is None and not _processes(connection, namespace, pool, now):
            others = set(_enrolled(connection, namespace, pool)).difference(session_ids)
            _leave(connection, namespace, sorted(others), now)
        connection.execute(_USE, (namespace, pool, holder, place or 0, now + ttl))
        connection.executemany(_ENROL, [(namespace, session_id, pool) for session_id in session_ids])
        return _enrolled(connection, namespace, pool)


def claim(
    connection: sqlite3.Connection,
    clock: _Clock,
    namespace: str,
    pool: str,
    holder: str,
    held: Sequence[Claim],
    want: int,
    ttl: float,
) -> Claims:
    with transaction(connection):
        now = clock()
        connection.executemany(_ENTER_AGAIN, [(namespace, each.session_id, pool, each.token, holder) for each in held])
        tokens = dict(connection.execute(_MINE, (namespace, pool, holder)).fetchall())
        (enrolled,) = connection.execute(_COUNT, (namespace, pool)).fetchone()
        connection.execute(_FREE_THOSE_TO_COME, (namespace, pool, now + max(ttl, LONGEST)))
        places = _processes(connection, namespace, pool, now)
        place = places.pop(holder, 0)
        waiting = sorted(filter(None, places.values()))
        if not tokens and want <= 0:
            connection.execute(_UNUSE, (namespace, pool, holder))
            return Claims([], enrolled // max(len(places), 1), len(waiting), 0)
        share = enrolled // (len(places) + 1)
        due = min(want, max(share, 1))
        ahead = [each for each in waiting if len(tokens) < due and (not place or each < place)]
        count = (due if waiting else want) - len(tokens)
        taken = _take(connection, namespace, pool, holder, len(ahead), count, now) if count > 0 else {}
        tokens.update(taken)
        if len(tokens) >= due:
            place = 0
        elif taken or not place:
            (place,) = new_tokens(connection, 1, now)
        connection.execute(_USE, (namespace, pool, holder, place, now + ttl))
        connection.execute(_PROLONG, (now + ttl, namespace, pool, holder))
    order = [each.session_id for each in held if each.session_id in tokens]
    order += [session_id for session_id in tokens if session_id not in set(order)]
    return Claims(
        [Claim(session_id, tokens[session_id], now + ttl) for session_id in order],
        share,
        len(waiting),
        len([each for each in waiting if each < place]) + 1 if place else 0,
    )


def may_claim(connection: sqlite3.Connection, clock: _Clock, namespace: str, pool: str, holder: str) -> bool:
    """Whether a free session is for *holder*, or it isn't in the line."""
    now = clock()
    found = "SELECT holder, place FROM processes WHERE namespace = ? AND pool = ? AND place > 0 AND expires_at > ?"
    places = dict(connection.execute(found, (namespace, pool, now)).fetchall())
    if holder not in places:
        return True
    place = len([each for each in places.values() if each <= places[holder]])
    return len(connection.execute(_FREE, (namespace, pool, now, holder, place)).fetchall()) >= place


def give_back(
    connection: sqlite3.Connection, clock: _Clock, namespace: str, claims: Sequence[Claim], retire: bool
) -> list[bool]:
    with transaction(connection):
        now = clock()
        given = [
            connection.execute(_GIVE_BACK, (token, namespace, each.session_id, each.token)).rowcount == 1
            for each, token in zip(claims, new_tokens(connection, len(claims), now), strict=True)
        ]
        if retire:
            retired = [each.session_id for each, done in zip(claims, given, strict=True) if done]
            _leave(connection, namespace, retired, now)
    return given


def _enrolled(connection: sqlite3.Connection, namespace: str, pool: str) -> list[str]:
    return [session_id for (session_id,) in connection.execute(_ENROLLED, (namespace, pool))]


def _processes(connection: sqlite3.Connection, namespace: str, pool: str, now: float) -> dict[str, int]:
    """Return the places in the line of the processes that use the pool, 0 for one that isn't in it."""
    connection.execute(_GONE, (namespace, pool, now, now + LONGEST))
    return dict(connection.execute(_PROCESSES, (namespace, pool)).fetchall())


def _take(
    connection: sqlite3.Connection, namespace: str, pool: str, holder: str, skipped: int, count: int, now: float
) -> dict[str, int]:
    """Take up to *count* free sessions beyond the *skipped* first, and return their tokens."""
    found = connection.execute(_FREE, (namespace, pool, now, holder, skipped + count)).fetchall()[skipped:]
    ids = [session_id for (session_id,) in found]
    taken = dict(zip(ids, new_tokens(connection, len(ids), now), strict=True)) if ids else {}
    connection.executemany(_TAKE, [(token, holder, namespace, session_id) for session_id, token in taken.items()])
    return taken


def _leave(connection: sqlite3.Connection, namespace: str, session_ids: Sequence[str], now: float) -> None:
    """Take sessions out of their pool. Their tokens are remembered, under which others may still try to save."""
    connection.executemany(_NEVER_CLAIMED, [(namespace, session_id) for session_id in session_ids])
    connection.executemany(
        _LEAVE,
        [
            (token, now + REMEMBERED, namespace, session_id)
            for session_id, token in zip(session_ids, new_tokens(connection, len(session_ids), now), strict=True)
        ],
    )
    connection.execute(_FORGET, (namespace, now))
