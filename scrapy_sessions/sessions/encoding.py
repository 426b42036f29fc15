"""A live session as the row that is saved, without a model in between; what has not changed is not encoded again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import NotRequired, TypedDict

from scrapy_sessions.models import PersistentSession, Status, expiry
from scrapy_sessions.sessions.parts import Parts
from scrapy_sessions.storage.base import Row
from scrapy_sessions.storage.codec import decode, read

if TYPE_CHECKING:
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["Unencodable", "base_of", "encode_parts", "row_of"]

_STATUSES = frozenset(get_args(Status))


class Unencodable(Exception):
    """A session holds something that isn't JSON, or of another type than its field's."""


class _Metrics(TypedDict):
    requests: int
    responses: dict[int, int]
    logins: int
    failures: int
    bytes: int
    latency: float


class _Moving(TypedDict):
    last_activity: float
    pages_visited: int
    last_url: str | None
    status: str
    retired_reason: NotRequired[str]
    generation: int
    revision: int
    metrics: _Metrics


_UNSETTLED = {*_Moving.__annotations__, "cookies", "actions_performed"}
# Not written when they are empty: that is their default.
_OMITTED = [name for name, field in PersistentSession.model_fields.items() if field.default in (None, {})]
_dump_moving = TypeAdapter(_Moving).serializer.to_json


def encode_parts(session: SessionRuntime) -> Parts:
    """Return *session* as it is now, under the revision after its own.

    Raises :exc:`Unencodable`; neither that nor what led to it holds a value.
    """
    moving: _Moving = {
        "last_activity": session.last_activity,
        "pages_visited": session.pages_visited,
        "last_url": session.last_url,
        "status": session.status,
        "generation": session.generation,
        "revision": session.revision + 1,
        "metrics": cast("_Metrics", session.metrics()),
    }
    if session.retired_reason is not None:
        moving["retired_reason"] = session.retired_reason
    # JSON has no infinity: pydantic writes null, which these fields don't take back.
    if session.status not in _STATUSES or not math.isfinite(session.last_activity + session.latency):
        raise Unencodable
    try:
        encoded = _dump_moving(moving, warnings="error")  # the default warns, with the value, and writes all the same
        if session.unknown_metrics:
            encoded = _with_unknown(encoded, session.unknown_metrics)
        settled = session.settled(_encode_settled)
        cookies = session.jar.encoded()
    except PydanticSerializationError:
        raise Unencodable from None
    return Parts(settled, encoded[1:-1], cookies, session.history.total)


def _with_unknown(moving: bytes, metrics: dict[str, Any]) -> bytes:
    """Return *moving* with fields of a newer version in its metrics."""
    content = from_json(moving)
    content["metrics"].update(metrics)
    return to_json(content)


def _encode_settled(record: PersistentSession) -> bytes:
    if not all(map(math.isfinite, (record.start_time, record.idle_timeout, record.max_age))):
        raise Unencodable
    unset = {name for name in _OMITTED if getattr(record, name) in (None, {})}
    return record.model_dump_json(exclude=_UNSETTLED | unset, warnings="error").encode()[1:-1]


def row_of(session: SessionRuntime, parts: Parts) -> Row:
    """Return the row of *session*, which was encoded as *parts* at this moment."""
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
        parts.body(session.history.encoded()),
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
    # Its actions are those of now without what was added since; of a bounded history, what is left of them. By their
    # text alone, a new one can't be told from an old one that says the same.
    texts = session.history.texts()
    record.actions_performed = texts[: max(len(texts) + actions - session.history.total, 0)]
    return record
