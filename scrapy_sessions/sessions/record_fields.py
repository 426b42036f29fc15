"""The fields of the record in one table, which drives encoding, snapshot, restore and merging.

A new field of :class:`~scrapy_sessions.PersistentSession` needs one row in :data:`FIELDS`, and the attribute of the
live session that contains it. Old records need a migration only if the field's default isn't right for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from scrapy_sessions.json_limits import MAX_COUNT, fault_of
from scrapy_sessions.models import SCHEMA_VERSION, Metrics, PersistentSession, ProxyRotation, Status
from scrapy_sessions.sessions.json_data import WATCHED, copy_json
from scrapy_sessions.sessions.merging import (
    Merge,
    merge_actions,
    merge_budget_used,
    merge_by_key,
    merge_cookies,
    merge_metrics,
    merge_status,
    of_latest_activity,
    of_stored,
    the_highest,
    the_sum,
)

_STATUSES = frozenset(get_args(Status))
_NO_FIELDS: dict[str, Any] = {}


class Unencodable(Exception):
    """A session contains something that isn't JSON, or has another type than its field."""


class Part(Enum):
    """The part of an encoded session that contains a field."""

    SETTLED = "settled"
    """Fields that hardly ever change: encoded again only after a change."""
    MOVING = "moving"
    """Fields that change with every request: encoded at every save."""
    METRICS = "metrics"
    """The counters, which are within the moving part."""
    COOKIES = "cookies"
    """Encoded by the jar."""
    HISTORY = "history"
    """Encoded by the history."""


class Field(NamedTuple):
    """One field of the record.

    :param merge: how two records that began as the same one are merged
    :param read: returns its value from a live session; ``None``: the attribute with the field's name
    :param write: sets it in a live session; ``None``: the attribute with the field's name
    """

    name: str
    part: Part
    merge: Merge
    read: Callable[[Any], Any] | None = None
    write: Callable[[Any, Any], None] | None = None


def _keep(session: Any, value: Any) -> None:
    """Write nothing: a live session never changes its id."""


def _data(name: str) -> Field:
    return Field(
        name,
        Part.SETTLED,
        merge_by_key,
        read=lambda session: session.data_of(name),
        write=lambda session, value: session.restore_data(name, value),
    )


def _read_metrics(session: Any) -> Metrics:
    counters = {name: getattr(session, name) for name in Metrics.model_fields}
    counters["responses"] = {str(status): count for status, count in session.responses.items()}
    return Metrics.model_construct(**session.unknown_metrics, **counters)


def _write_metrics(session: Any, metrics: Metrics) -> None:
    for name in Metrics.model_fields:
        setattr(session, name, getattr(metrics, name))
    session.responses = {int(status): count for status, count in metrics.responses.items()}
    session.unknown_metrics = metrics.model_extra or _NO_FIELDS


def _read_rotation(session: Any) -> ProxyRotation | None:
    return None if session.rotation is None else session.rotation.stored


def _write_rotation(session: Any, rotation: ProxyRotation | None) -> None:
    session.rotate_proxy(rotation)


def _write_meta(session: Any, meta: dict[str, Any]) -> None:
    session.meta = copy_json(meta) or _NO_FIELDS


def _read_budget(session: Any) -> dict[str, int]:
    return {} if session.budget is None else dict(session.budget.limits)


def _write_budget(session: Any, limits: dict[str, int]) -> None:
    if limits or session.budget is not None:
        session.restore_budget(limits, session.budget_used)


def _write_budget_used(session: Any, used: dict[str, dict[str, int]] | None) -> None:
    if used or session.budget is not None:
        session.restore_budget(_read_budget(session), used)


# None of them ever becomes less.
_growing = attrgetter("generation", "pages_visited", "metrics.requests")

FIELDS = (
    Field("session_id", Part.SETTLED, of_stored, read=attrgetter("id"), write=_keep),
    Field("schema_version", Part.SETTLED, of_stored, read=lambda session: SCHEMA_VERSION, write=_keep),
    Field("namespace", Part.SETTLED, of_stored),
    Field("pool", Part.SETTLED, of_stored),
    Field("profile_name", Part.SETTLED, of_stored),
    Field("user_agent", Part.SETTLED, of_stored),
    Field("language", Part.SETTLED, of_stored),
    Field("timezone", Part.SETTLED, of_stored),
    Field("viewport_width", Part.SETTLED, of_stored),
    Field("viewport_height", Part.SETTLED, of_stored),
    Field("proxy", Part.SETTLED, of_stored),
    Field("proxy_rotation", Part.SETTLED, of_stored, read=_read_rotation, write=_write_rotation),
    Field("meta", Part.SETTLED, of_stored, read=lambda session: copy_json(session.meta), write=_write_meta),
    Field("start_time", Part.SETTLED, of_stored),
    Field("idle_timeout", Part.SETTLED, of_stored),
    Field("max_age", Part.SETTLED, of_stored),
    Field("max_uses", Part.SETTLED, of_stored),
    Field("budget", Part.SETTLED, of_stored, read=_read_budget, write=_write_budget),
    Field("logged_in", Part.SETTLED, merge_by_key),
    Field(
        "headers",
        Part.SETTLED,
        merge_by_key,
        read=lambda session: session.bound_headers.dump(),
        write=lambda session, value: session.bound_headers.restore(value),
    ),
    *map(_data, WATCHED),
    Field("last_activity", Part.MOVING, the_highest),
    Field("pages_visited", Part.MOVING, the_sum),
    Field("last_url", Part.MOVING, of_latest_activity),
    Field("status", Part.MOVING, merge_status),
    Field("retired_reason", Part.MOVING, merge_status),
    Field("generation", Part.MOVING, the_highest),
    Field("revision", Part.MOVING, of_stored),
    Field("budget_used", Part.MOVING, merge_budget_used, write=_write_budget_used),
    Field("metrics", Part.METRICS, merge_metrics, read=_read_metrics, write=_write_metrics),
    Field(
        "cookies",
        Part.COOKIES,
        merge_cookies,
        read=lambda session: session.jar.dump(),
        write=lambda session, value: session.jar.restore(value),
    ),
    Field(
        "actions_performed",
        Part.HISTORY,
        merge_actions,
        read=lambda session: session.history.texts(),
        write=lambda session, value: session.history.restore(value),
    ),
)
"""The fields of :class:`~scrapy_sessions.PersistentSession`, each once."""


class RecordFields:
    """What the rows *fields* of *model* make: the codec, snapshot, restore and merge of a live session."""

    def __init__(self, model: type[PersistentSession], fields: tuple[Field, ...]) -> None:
        names = [field.name for field in fields]
        if sorted(names) != sorted(model.model_fields):
            wrong = sorted(set(names) ^ set(model.model_fields))
            raise TypeError(f"The table must contain each field of {model.__name__} once: look at {wrong}")
        self._model = model
        self._fields = fields
        settled, moving = ([field for field in fields if field.part is part] for part in (Part.SETTLED, Part.MOVING))
        types = {name: info.annotation for name, info in model.model_fields.items()}
        defaults = {name: info.default for name, info in model.model_fields.items()}
        counters = {name: info.annotation for name, info in Metrics.model_fields.items()}
        self._readers = {field.name: field.read or attrgetter(field.name) for field in fields}
        self._settled = [(field.name, self._readers[field.name]) for field in settled]
        self._unsettled = {field.name for field in fields if field.part is not Part.SETTLED}
        # Not written when they are empty, because that is their default.
        self._omitted = [field.name for field in settled if defaults[field.name] in (None, {})]
        self.resettable = [field.name for field in (*settled, *moving) if defaults[field.name] in (None, {}, "new")]
        """Fields that a session that can't be encoded takes over from its last save, so that the rest is saved."""
        self._settled_floats = [field.name for field in settled if types[field.name] is float]
        # The others report their changes themselves: they reset session.settled.
        self._settled_values = attrgetter(*(field.name for field in settled if field.read is None))
        moving_types = {field.name: types[field.name] for field in moving}
        # By number, as in a live session.
        counters = {name: dict[int, int] if get_origin(type_) is dict else type_ for name, type_ in counters.items()}
        self._moving, self._moving_values = tuple(moving_types), attrgetter(*moving_types)
        self._counters, self._counter_values = tuple(counters), attrgetter(*counters)
        self._floats = attrgetter(*(name for name, type_ in {**moving_types, **counters}.items() if type_ is float))
        self._types = moving_types, counters

    @cached_property
    def _dump_moving(self) -> Callable[..., bytes]:
        """The serializer of the moving fields. Built at the first save, not at the start of a crawl."""
        moving, counters = self._types
        metrics = TypedDict("metrics", counters)  # type: ignore[misc]  # the names and types are those of the table
        rows = TypedDict("rows", {**moving, "metrics": metrics})  # type: ignore[misc]
        return TypeAdapter[Any](rows).serializer.to_json

    def snapshot(self, session: Any) -> PersistentSession:
        """Return the record of *session* as it is now. It shares no mutable part with the session."""
        values = {name: read(session) for name, read in self._readers.items()}
        values.update({name: copy_json(values[name]) for name in WATCHED})
        return self._model.model_construct(**session.unknown_fields, **values)

    def restore(self, session: Any, record: PersistentSession) -> None:
        """Write the fields of *record* into *session*."""
        for name, _, _, _, write in self._fields:
            if write is None:
                setattr(session, name, getattr(record, name))
            else:
                write(session, getattr(record, name))
        session.unknown_fields = record.model_extra or _NO_FIELDS

    def merge(
        self, base: PersistentSession | None, mine: PersistentSession, theirs: PersistentSession
    ) -> PersistentSession:
        """Merge *mine* and *theirs*, which is stored. Both began as *base* (``None``: as an empty record). Pure."""
        ancestor = base or self._model.model_construct(session_id=mine.session_id)
        return theirs.model_copy(
            update={field.name: field.merge(field.name, ancestor, mine, theirs) for field in self._fields}
        )

    @staticmethod
    def is_older(theirs: PersistentSession, base: PersistentSession) -> bool:
        """Whether *theirs*, which is stored, is no successor of *base*, which was stored before."""
        return any(now < before for now, before in zip(_growing(theirs), _growing(base), strict=True))

    def encode_settled(self, session: Any) -> bytes:
        """Return the settled fields as the inside of a JSON object.

        The object is the same until one of them changes. Call ``session.data_changed()`` first.
        """
        values = self._settled_values(session)
        if session.settled is None or session.settled[0] != values:
            session.settled = values, self._encode_settled(session)
        encoded: bytes = session.settled[1]
        return encoded

    def _encode_settled(self, session: Any) -> bytes:
        record = self._model.model_construct(
            **session.unknown_fields, **{name: read(session) for name, read in self._settled}
        )
        # JSON has no infinity: pydantic writes null, which isn't valid in these fields.
        if not all(math.isfinite(getattr(record, name)) for name in self._settled_floats):
            raise Unencodable
        if any(map(fault_of, attrgetter(*WATCHED)(record))):
            raise Unencodable
        empty = {name for name in self._omitted if getattr(record, name) in (None, {})}
        return record.model_dump_json(exclude=self._unsettled | empty, warnings="error").encode()[1:-1]

    def encode_moving(self, session: Any) -> bytes:
        """Return the moving fields and the metrics, under the next revision, as the inside of a JSON object."""
        if session.status not in _STATUSES or not math.isfinite(sum(self._floats(session))):
            raise Unencodable
        moving = dict(zip(self._moving, self._moving_values(session), strict=True))
        moving["metrics"] = dict(zip(self._counters, self._counter_values(session), strict=True))
        moving["revision"] += 1
        if moving["revision"] > MAX_COUNT:  # a crafted record
            raise Unencodable
        # "error", because the default writes a value of a wrong type and logs a warning that quotes it.
        encoded = self._dump_moving(moving, warnings="error", exclude_none=True)
        if session.unknown_metrics:  # fields of a newer version
            content = from_json(encoded)
            content["metrics"].update(session.unknown_metrics)
            encoded = to_json(content)
        return encoded[1:-1]


RECORD = RecordFields(PersistentSession, FIELDS)
