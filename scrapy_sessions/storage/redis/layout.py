"""How the data of a namespace is stored in Redis: the names of its keys, and rows as the two fields of a hash.

All keys of a namespace begin with ``sessions:{namespace}:``. What is in braces is their hash tag, so that in a cluster
they are on one shard, and one script can read and change them together:

- ``s:<id>``: a session, a hash of its columns (``c``) and its compressed body (``b``). More fields would cost 50 bytes
  each
- ``list``, ``expiry``: sorted sets of the ids, by ``-last_activity`` and by ``expires_at``. Negated, because Redis
  orders ids of the same score upwards, as listings do
- ``epoch``: a random text, missing if the data was lost
- ``quarantine``: a hash of what was quarantined, by number; ``q:<number>`` is what was stored
- ``shared``: a hash, the shared data
- ``call:<text>``: for a minute, the answer of a call that must not be carried out again; see ``lua/calls.lua``
- ``h:<hour>``, ``t:<hour>``, ``hours``, ``events``: analytics; see ``lua/add_analytics.lua``

``sessions:namespaces`` is the set of all namespaces.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from scrapy_sessions.json_limits import MAX_SIZE
from scrapy_sessions.storage.base import Key, Row

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import ExpiryReason, Status

NAMESPACES = b"sessions:namespaces"

# The first byte of a stored body.
_COMPRESSED = b"z"
_PLAIN = b"p"  # an encrypted body, say, can't be compressed
_LEVEL = 6  # of zlib: higher ones take more time and save nothing
MAX_COLUMNS = 8192
"""How many bytes the columns of a session may have. A pool and a profile are named by settings."""
MAX_BODY = MAX_SIZE + 4096
"""How many bytes a stored body may have: that of the largest record, encrypted."""

_SEPARATOR = "\n"  # in no column: pools and profiles are quoted, as JSON
_TIME = r"-?\d{1,30}(?:\.\d{1,30})?(?:e[+-]?\d{1,3})?"
_QUOTED = r'(?:"(?:[^"\\\n]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*")?'
_COLUMNS = re.compile(
    _SEPARATOR.join(
        (
            r"(\d{1,16})",  # the revision
            f"({_TIME})",  # the start
            r"([\w\- ]{0,100})",  # the stamps
            r"(new|ready|retired)",
            f"({_QUOTED})",  # the pool
            f"({_QUOTED})",  # the profile
            f"({_TIME})",  # the last activity
            f"({_TIME}|)",  # the expiry
            r"(idle_timeout|max_age|max_uses|)",
            r"(\d{1,16})",  # the pages
            r"(\d{1,16})",  # the actions
        )
    ),
    re.ASCII,
)


class Malformed(Exception):
    """What is stored isn't what this package writes. The message is the reason, without a value."""


def prefix(namespace: str) -> str:
    """Return what the keys of *namespace* begin with.

    >>> prefix("shop")
    'sessions:{shop}:'
    """
    # Braces would end the hash tag too early, or make it empty: then each key would have a shard of its own.
    escaped = namespace.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"sessions:{{{escaped}}}:"


def columns_of(row: Row) -> str:
    """Return the columns of *row*, for the field ``c``."""
    return _SEPARATOR.join(
        (
            str(row.revision),
            repr(row.start_time),  # as text, because Lua writes 14 digits of a number
            row.stamps,
            row.status,
            quoted(row.pool),
            quoted(row.profile_name),
            repr(row.last_activity),
            "" if row.expires_at is None else repr(row.expires_at),
            row.expires_by or "",
            str(row.pages_visited),
            str(row.actions_count),
        )
    )


def quoted(text: str | None) -> str:
    """Return *text* in JSON, which has no control characters; ``""`` for ``None``."""
    return "" if text is None else json.dumps(text)


def row_of(key: Key, columns: bytes, body: bytes) -> Row:
    """Return the row of *key* with these fields of its hash. Raises :exc:`Malformed`."""
    return parsed(key, columns)._replace(body=unpacked(body))


def parsed(key: Key, columns: bytes) -> Row:
    """Return the row of *key* with these *columns*, without its body. Raises :exc:`Malformed`."""
    found = _COLUMNS.fullmatch(columns.decode("ascii", "replace"))
    if found is None:
        raise Malformed("its columns are not those that this package writes")
    revision, start, stamps, status, pool, profile, last, expires_at, expires_by, pages, actions = found.groups()
    started, active, expires = float(start), float(last), float(expires_at) if expires_at else None
    # As it was written: scripts compare a start_time as text.
    if repr(started) != start or not math.isfinite(started + active + (expires or 0.0)):
        raise Malformed("one of its times is not a number that this package writes")
    return Row(
        key.namespace,
        key.session_id,
        _unquoted(pool),
        _unquoted(profile),
        cast("Status", status),
        started,
        active,
        expires,
        cast("ExpiryReason | None", expires_by or None),
        int(pages),
        int(actions),
        int(revision),
        stamps,
        b"",
    )


@lru_cache(1024)  # pools and profiles are few
def _unquoted(text: str) -> str | None:
    return str(json.loads(text)) if text else None


def packed(body: bytes) -> bytes:
    """Return *body* as it is stored: compressed, if that makes it smaller."""
    compressed = zlib.compress(body, _LEVEL)
    return _COMPRESSED + compressed if len(compressed) < len(body) else _PLAIN + body


def unpacked(stored: bytes) -> bytes:
    """Return the body of *stored*. Raises :exc:`Malformed`."""
    if stored[:1] == _PLAIN:
        return stored[1:]
    if stored[:1] == _COMPRESSED:
        # Bounded, because a few kilobytes may be unpacked to gigabytes.
        unpacker = zlib.decompressobj()
        try:
            body = unpacker.decompress(stored[1:], MAX_BODY)
        except zlib.error:
            raise Malformed("its body is damaged") from None
        if unpacker.eof and not unpacker.unused_data:
            return body
    raise Malformed("its body is not one that this package writes")
