"""A live session encoded as the row that is saved. Parts that have not changed are not encoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import PydanticSerializationError, from_json

from scrapy_sessions.json_limits import MAX_SIZE
from scrapy_sessions.models import PersistentSession, expiry
from scrapy_sessions.sessions.parts import Parts
from scrapy_sessions.sessions.record_fields import RECORD, Unencodable
from scrapy_sessions.storage.base import Row, next_stamps
from scrapy_sessions.storage.codec import decode, read

if TYPE_CHECKING:
    from scrapy_sessions.sessions.runtime import SessionRuntime


def encode_parts(session: SessionRuntime) -> Parts:
    """Return *session* as it is now, under the next revision.

    Raises :exc:`Unencodable`, which contains no value.
    """
    try:
        moving = RECORD.encode_moving(session)
        settled = RECORD.encode_settled(session)
        cookies = session.jar.encoded()
    except PydanticSerializationError:
        raise Unencodable from None
    base = session.merge_base
    return Parts(settled, moving, cookies, next_stamps("" if base is None else base.stamps), session.history.total)


def row_of(session: SessionRuntime, parts: Parts) -> Row:
    """Return the row of *session*, of which *parts* is the present content.

    Raises :exc:`Unencodable` if it is larger than a record may be.
    """
    body = parts.body(session.history.encoded())
    if len(body) > MAX_SIZE:
        raise Unencodable
    expires_at, expires_by = expiry(session, session.requests) or (None, None)
    return Row(
        session.namespace,
        session.id,
        session.pool,
        session.profile_name,
        session.status,
        session.start_time,
        session.last_activity,
        expires_at,
        expires_by,
        session.pages_visited,
        len(session.history),
        session.revision + 1,
        parts.stamps,
        body,
    )


def base_of(session: SessionRuntime) -> PersistentSession | None:
    """Return the record of *session* as last loaded or saved: the base of a merge."""
    base = session.merge_base
    if base is None:
        return None
    if isinstance(base, Row):
        record, actions = decode(base), base.actions_count
    else:
        record, actions = read(from_json(base.body(b""))), base.actions
    # Its actions are the present ones without those added since, as far as a bounded history still has them. Comparing
    # texts would be wrong, because a new action may have the text of an old one.
    texts = session.history.texts()
    record.actions_performed = texts[: max(len(texts) + actions - session.history.total, 0)]
    return record
