"""Records become rows and come back; what can't be read is told from what must not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions.exceptions import CorruptRecord, NewerSchema, StoreError
from scrapy_sessions.models import Cookie, Metrics, PersistentSession
from scrapy_sessions.storage import Row, codec
from scrapy_sessions.storage.base import next_stamps
from scrapy_sessions.storage.codec import decode, encode
from tests.support.waiting import HANG

SECRET = "hunter2"


def record(**fields: Any) -> PersistentSession:
    defaults: dict[str, Any] = {
        "session_id": "alice",
        "namespace": "shop",
        "start_time": 1000.0,
        "last_activity": 2000.5,
        "cookies": [Cookie(name="sid", value=SECRET, domain="shop.example")],
        "revision": 3,
    }
    return PersistentSession(**{**defaults, **fields})


def with_body(change: dict[str, Any], row: Row | None = None) -> Row:
    row = row or encode(record())
    return row._replace(body=json.dumps({**json.loads(row.body), **change}).encode())


def everything_of(error: BaseException | None) -> str:
    """What a log could show of *error*, whatever led to it included."""
    return "" if error is None else f"{error!r} {error} {everything_of(error.__cause__ or error.__context__)}"


def test_round_trip() -> None:
    """A record comes back equal."""
    full = record(
        pool="staff",
        headers={"https://shop.example": {"Authorization": f"Bearer {SECRET}"}},
        local_storage={"https://shop.example": {"a": "☃"}},
        data={"basket": [1, 2.5, None, {"deep": True}]},
        metrics=Metrics(requests=3, responses={"200": 2}, latency=0.25),
    )
    assert decode(encode(full)) == full


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_survives(value: Any) -> None:
    """Whatever JSON a spider puts in data comes back the same."""
    assert decode(encode(record(data={"key": value}))).data == {"key": value}


def test_columns() -> None:
    """The columns of a row are those of its record."""
    row = encode(record(pool="staff", profile_name="de", status="ready", pages_visited=4, actions_performed=["a", "b"]))
    assert (row.namespace, row.session_id, row.pool, row.profile_name) == ("shop", "alice", "staff", "de")
    assert (row.status, row.start_time, row.last_activity) == ("ready", 1000.0, 2000.5)
    assert (row.pages_visited, row.actions_count, row.revision) == (4, 2, 3)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"idle_timeout": 30.0}, (2030.5, "idle_timeout")),
        ({"idle_timeout": 0.0}, (None, None)),
        ({"idle_timeout": 0.0, "max_age": 60.0}, (1060.0, "max_age")),
    ],
)
def test_expiry_columns(policy: dict[str, Any], expected: tuple[float | None, str | None]) -> None:
    """A row expires when its record's own policy says so, and says by which limit."""
    row = encode(record(**policy))
    assert (row.expires_at, row.expires_by) == expected


def test_unknown_fields_survive() -> None:
    """What a newer version added without a new schema comes through an older one."""
    read = decode(with_body({"colour": "red", "metrics": {"requests": 1, "novel": 2}}))
    written = json.loads(encode(read).body)
    assert (written["colour"], written["metrics"]["novel"]) == ("red", 2)


def test_newer_schema() -> None:
    """A record of a newer schema is told from a corrupt one, before its fields are looked at."""
    with pytest.raises(NewerSchema, match=r"'alice'.*'shop'.*99.*up to 1.*upgrade"):
        decode(with_body({"schema_version": 99, "cookies": "in another form"}))


def test_older_schemas_are_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older record takes each step from its own version on, in order."""
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(codec.RECORD_MIGRATIONS, 1, lambda content: {**content, "language": "de"})
    monkeypatch.setitem(
        codec.RECORD_MIGRATIONS, 2, lambda content: {**content, "language": content["language"] + "-AT"}
    )
    first, second = decode(with_body({})), decode(with_body({"schema_version": 2, "language": "fr"}))
    assert [(each.language, each.schema_version) for each in (first, second)] == [("de-AT", 3), ("fr-AT", 3)]


def test_failing_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that a migration can't take is corrupt, and the error shows no value of it."""
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(codec.RECORD_MIGRATIONS, 1, lambda content: content[content["cookies"][0]["value"]])
    with pytest.raises(CorruptRecord, match="migration from schema version 1 failed: KeyError") as caught:
        decode(with_body({}))
    assert SECRET not in everything_of(caught.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "isn't JSON"),
        (b'{"session_id": "hunter2', "isn't JSON"),
        (b"\x80\x04hunter2", "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b'["hunter2"]', "isn't a JSON object"),
        (b'{"session_id": "hunter2"}', "no schema_version"),
        (b'{"schema_version": true}', "no schema_version"),
        (b'{"schema_version": "hunter2"}', "no schema_version"),
        (b'{"schema_version": 0}', "no migration from its schema version, 0"),
        (b'{"schema_version": 1, "data": "hunter2"}', r"don't validate: data, session_id"),
    ],
)
def test_unreadable_bodies(body: bytes, reason: str) -> None:
    """A body that is no record is corrupt; the error names the session and the reason, and shows no value."""
    with pytest.raises(CorruptRecord, match=reason) as caught:
        decode(encode(record())._replace(body=body))
    assert "'alice'" in str(caught.value)
    assert "'shop'" in str(caught.value)
    assert SECRET not in everything_of(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"session_id": "bob"}, "session_id"), ({"namespace": "news"}, "namespace"), ({"revision": 4}, "revision")],
)
def test_body_of_another_row(change: dict[str, Any], field: str) -> None:
    """A body that isn't its row's is corrupt: a session never becomes another."""
    with pytest.raises(CorruptRecord, match=f"its {field} isn't that of its row"):
        decode(with_body(change))


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_is_not_json_is_refused(value: Any) -> None:
    """A record that couldn't be read back isn't written."""
    spoilt = record()
    spoilt.data["key"] = value
    with pytest.raises(StoreError, match=r"'alice'.*can't be saved.*session\.data"):
        encode(spoilt)


def test_wrong_type_is_refused_without_its_value() -> None:
    """A field of a wrong type is refused; the error shows no value, and no warning does."""
    spoilt = record()
    spoilt.last_url = [SECRET]  # type: ignore[assignment]  # as a spider's code without type checks would
    with pytest.raises(StoreError) as caught:
        encode(spoilt)
    assert SECRET not in everything_of(caught.value)


@pytest.mark.parametrize("field", ["start_time", "last_activity", "idle_timeout", "max_age", "latency"])
def test_infinite_times_are_refused(field: str) -> None:
    """A number that JSON can't contain is refused when the record is saved, not found when it is loaded."""
    infinite = {field: float("inf")}
    with pytest.raises(StoreError, match="finite"):
        encode(record(metrics=infinite) if field == "latency" else record(**infinite))


def test_repr_of_a_row_hides_its_body() -> None:
    """The repr of a row shows no cookie."""
    assert SECRET not in repr(encode(record()))


FORKING = """
import os
from scrapy_sessions.storage.base import next_stamps

print(next_stamps(""), flush=True)
for _ in range(2):
    if not os.fork():
        os.write(1, "".join(next_stamps("") + "\\n" for _ in range(300)).encode())
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_processes_have_their_own_stamps() -> None:
    """No two encodings have one stamp, not even in processes that were forked from one that had some."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=HANG, check=True)
    found = done.stdout.split()
    assert len(found) == len(set(found)) == 601


def test_some_stamps_are_kept() -> None:
    """A row has its own stamp and those of the last five that it replaces, the newest first."""
    stamps = [next_stamps("")]
    for _ in range(8):
        stamps.append(next_stamps(stamps[-1]))
    own = [each.split(" ")[0] for each in stamps]
    assert {len(stamp) for stamp in own} == {8}
    assert stamps[-1].split(" ") == own[:-7:-1]
    row = encode(PersistentSession(session_id="alice"), stamps=stamps[0])
    assert (row.stamp, row.replaces) == (row.stamps.split()[0], own[0])
