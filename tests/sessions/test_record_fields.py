"""One table of the record's fields drives encoding, snapshot, restore and merging."""

from __future__ import annotations

from typing import Any

import pytest

from scrapy_sessions.models import Metrics, PersistentSession
from scrapy_sessions.sessions.json_data import WATCHED
from scrapy_sessions.sessions.merging import of_stored, the_highest
from scrapy_sessions.sessions.parts import Parts
from scrapy_sessions.sessions.record_fields import FIELDS, Field, Part, RecordFields
from scrapy_sessions.sessions.runtime import SessionRuntime


class Extended(PersistentSession):
    """A record with two new fields: one that hardly ever changes, and one that moves."""

    place: str | None = None
    clicks: int = 0


class ExtendedRuntime(SessionRuntime):
    """A live session with the attributes of the new fields."""

    __slots__ = ("clicks", "place")

    def __init__(self, session_id: str, *, place: str | None = None, clicks: int = 0) -> None:
        super().__init__(session_id, idle_timeout=0)
        self.place, self.clicks = place, clicks


def extended(*rows: Field) -> RecordFields:
    """Return the machinery for :class:`Extended`, with *rows* added to the table."""
    return RecordFields(Extended, (*FIELDS, *rows))


ROWS = (Field("place", Part.SETTLED, of_stored), Field("clicks", Part.MOVING, the_highest))


def decoded(fields: RecordFields, session: SessionRuntime) -> Extended:
    """Return the record of *session*, encoded and decoded again."""
    settled, moving = fields.encode_settled(session), fields.encode_moving(session)
    parts = Parts(settled, moving, session.jar.encoded(), "", session.history.total)
    return Extended.model_validate_json(parts.body(session.history.encoded()))


def test_every_field_has_a_row() -> None:
    """Each field of the record is in the table, once."""
    assert sorted(field.name for field in FIELDS) == sorted(PersistentSession.model_fields)


def test_a_field_without_a_row_is_reported() -> None:
    """A field that nobody added to the table stops the import, and so every test."""
    with pytest.raises(TypeError, match="'place'"):
        extended(ROWS[1])
    with pytest.raises(TypeError, match="'other'"):
        extended(*ROWS, Field("other", Part.MOVING, of_stored))


def test_one_row_is_enough() -> None:
    """A new field with its row is encoded, decoded, restored, part of the snapshot, and merged."""
    fields = extended(*ROWS)
    session = ExtendedRuntime("alice", place="Rome", clicks=7)
    record = decoded(fields, session)
    assert (record.place, record.clicks) == ("Rome", 7)
    other = ExtendedRuntime("alice")
    fields.restore(other, record)
    assert (other.place, other.clicks) == ("Rome", 7)
    snapshot = fields.snapshot(other)
    assert isinstance(snapshot, Extended)
    assert (snapshot.place, snapshot.clicks) == ("Rome", 7)
    assert snapshot == record
    mine, theirs = (Extended(session_id="alice", place=place, clicks=n) for place, n in (("Rome", 9), ("Oslo", 8)))
    merged: Any = fields.merge(record, mine, theirs)
    assert (merged.place, merged.clicks) == ("Oslo", 9)


def test_a_change_of_a_new_field_is_encoded() -> None:
    """A settled field is encoded again when it changes, and only then; an empty one isn't written."""
    fields = extended(*ROWS)
    session = ExtendedRuntime("alice")
    first = fields.encode_settled(session)
    assert b"place" not in first
    assert fields.encode_settled(session) is first
    session.place = "Oslo"
    assert b'"place":"Oslo"' in fields.encode_settled(session)


def test_every_counter_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of the metrics is a counter of the live session with its name."""
    session = SessionRuntime("alice", idle_timeout=0)
    for number, name in enumerate(Metrics.model_fields, 1):
        setattr(session, name, {200: number} if name == "responses" else number)
    expected = {name: number for number, name in enumerate(Metrics.model_fields, 1)}
    record = decoded(extended(*ROWS), ExtendedRuntime("bob"))
    assert record.metrics == Metrics()
    moving = RecordFields(PersistentSession, FIELDS).encode_moving(session)
    metrics = PersistentSession.model_validate_json(b'{"session_id":"alice",%b}' % moving).metrics
    responses = expected.pop("responses")
    assert metrics == Metrics(**expected, responses={"200": responses})


def test_watched_data_are_fields_of_the_record() -> None:
    """The data that a spider changes in place are mappings of the record, in the settled part."""
    assert {field.name for field in FIELDS if field.name in WATCHED and field.part is Part.SETTLED} == set(WATCHED)
