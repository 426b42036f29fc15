"""The schema of the SQLite file, as numbered steps. ``PRAGMA user_version`` is the number of the last step taken.

A released step is never changed, because files of its version exist. New steps are added at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]


def _sessions(connection: sqlite3.Connection) -> None:
    # The primary key starts with the id, because find() looks for an id in all namespaces.
    # A rowid table: in a WITHOUT ROWID table, inner pages with bodies of a few kB would make the tree deep.
    connection.execute("""
        CREATE TABLE sessions (
            namespace TEXT NOT NULL,
            session_id TEXT NOT NULL,
            pool TEXT,
            profile_name TEXT,
            status TEXT NOT NULL,
            start_time REAL NOT NULL,
            last_activity REAL NOT NULL,
            expires_at REAL,
            expires_by TEXT,
            pages_visited INTEGER NOT NULL,
            actions_count INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (session_id, namespace)
        )
    """)
    # Every listing selects by namespace and pool (see listing.py), so that its cost doesn't grow with the sessions of
    # other spiders. One index serves all filters, because each further index costs time at every save. With the
    # columns after session_id, a listing reads the index only, not the pages with the bodies.
    connection.execute("""
        CREATE INDEX sessions_by_activity ON sessions (
            namespace, pool, last_activity DESC, session_id,
            profile_name, status, start_time, expires_at, pages_visited, actions_count
        )
    """)
    connection.execute("""
        CREATE INDEX sessions_by_expiry ON sessions (namespace, expires_at, session_id, revision, expires_by)
        WHERE expires_at IS NOT NULL
    """)


def _quarantine(connection: sqlite3.Connection) -> None:
    # The primary key is a number, because the same session can be quarantined more than once. The number is also the
    # order, because clocks may jump.
    connection.execute("""
        CREATE TABLE quarantine (
            id INTEGER PRIMARY KEY,
            namespace TEXT NOT NULL,
            session_id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            reason TEXT NOT NULL,
            set_aside REAL NOT NULL,
            body BLOB NOT NULL
        )
    """)


def _leases(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE leases (
            name TEXT PRIMARY KEY,
            token INTEGER NOT NULL,
            expires_at REAL NOT NULL
        ) WITHOUT ROWID
    """)


def _shared(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE shared (
            namespace TEXT PRIMARY KEY,
            version INTEGER NOT NULL,
            body BLOB NOT NULL
        )
    """)


def _analytics(connection: sqlite3.Connection) -> None:
    # The key starts with the hour: rows are added at the end and deleted at the start, and a query reads one range. In
    # that range it also reads the rows of other namespaces, whose number is bounded.
    connection.execute("""
        CREATE TABLE hours (
            hour INTEGER NOT NULL,
            namespace TEXT NOT NULL,
            pool TEXT NOT NULL,
            session_id TEXT NOT NULL,
            requests INTEGER NOT NULL,
            pages INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            logins INTEGER NOT NULL,
            login_failures INTEGER NOT NULL,
            login_seconds REAL NOT NULL,
            blocked INTEGER NOT NULL,
            suspects INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            latency REAL NOT NULL,
            PRIMARY KEY (hour, namespace, pool, session_id)
        ) WITHOUT ROWID
    """)
    # One row per status, so that a process adds to it in one statement.
    connection.execute("""
        CREATE TABLE hour_statuses (
            hour INTEGER NOT NULL,
            namespace TEXT NOT NULL,
            pool TEXT NOT NULL,
            session_id TEXT NOT NULL,
            status INTEGER NOT NULL,
            responses INTEGER NOT NULL,
            PRIMARY KEY (hour, namespace, pool, session_id, status)
        ) WITHOUT ROWID
    """)
    connection.execute("""
        CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            namespace TEXT NOT NULL,
            session_id TEXT NOT NULL,
            pool TEXT,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            detail TEXT NOT NULL
        )
    """)
    connection.execute("CREATE INDEX events_by_time ON events (namespace, time)")


def _stamps(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN stamps TEXT NOT NULL DEFAULT ''")


def _claims(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE leases")  # without the namespace; a login that is in progress now may be done twice
    connection.execute("""
        CREATE TABLE leases (
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            token INTEGER NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (namespace, name)
        ) WITHOUT ROWID
    """)
    # One row: the epoch of the file, and the last token of a lease or claim.
    connection.execute("""
        CREATE TABLE store (
            id INTEGER PRIMARY KEY,
            epoch TEXT NOT NULL,
            token INTEGER NOT NULL
        )
    """)
    connection.execute("INSERT INTO store (id, epoch, token) VALUES (0, lower(hex(randomblob(8))), 0)")
    connection.execute("""
        CREATE TABLE claims (
            namespace TEXT NOT NULL,
            session_id TEXT NOT NULL,
            pool TEXT,
            token INTEGER NOT NULL,
            holder TEXT NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (namespace, session_id)
        ) WITHOUT ROWID
    """)
    # What is free, in one range; and what a process holds.
    connection.execute("CREATE INDEX claims_by_expiry ON claims (namespace, pool, expires_at, token, holder)")
    connection.execute("CREATE INDEX claims_by_holder ON claims (namespace, pool, holder, token) WHERE holder != ''")
    connection.execute("""
        CREATE TABLE processes (
            namespace TEXT NOT NULL,
            pool TEXT NOT NULL,
            holder TEXT NOT NULL,
            place INTEGER NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (namespace, pool, holder)
        ) WITHOUT ROWID
    """)


def _batches(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE batches (
            writer TEXT PRIMARY KEY,
            number INTEGER NOT NULL,
            added REAL NOT NULL
        ) WITHOUT ROWID
    """)


def _expiry(connection: sqlite3.Connection) -> None:
    # With start_time, so that what has expired isn't confused with a session that takes its place.
    connection.execute("DROP INDEX sessions_by_expiry")
    connection.execute("""
        CREATE INDEX sessions_by_expiry ON sessions (
            namespace, expires_at, session_id, revision, start_time, expires_by
        )
        WHERE expires_at IS NOT NULL
    """)


def _erasing(connection: sqlite3.Connection) -> None:
    # How many transactions have deleted content, and how many of them had done so when the WAL was last emptied.
    for column in ("deletions", "erased"):
        connection.execute(f"ALTER TABLE store ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: tuple[tuple[int, Migration], ...] = (
    (1, _sessions),
    (2, _quarantine),
    (3, _leases),
    (4, _shared),
    (5, _analytics),
    (6, _stamps),
    (7, _claims),
    (8, _batches),
    (9, _expiry),
    (10, _erasing),
)

LATEST = MIGRATIONS[-1][0]
"""The schema version that this package reads and writes."""


def migrate(connection: sqlite3.Connection, *, upto: int = LATEST) -> int:
    """Take the missing steps up to *upto*, each in its own transaction, and return their number.

    *connection* is in autocommit mode. If a step fails, the file stays at the step before. Raises
    :exc:`sqlite3.Error`.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    taken = 0
    for number, step in MIGRATIONS:
        if not version < number <= upto:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        taken += 1
    return taken
