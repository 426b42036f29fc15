"""Our own JSON: the whole record, its schema, and what makes it unreadable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scrapy_sessions import FormatError, NewerSchema, PersistentSession
from scrapy_sessions.formats.records import dump
from tests.support.exchange import SECRET, rich_record
from tests.support.formats import read_text

ROTATION: dict[str, Any] = {
    "template": f"http://{{token}}:{SECRET}@proxy.example",
    "seed": SECRET,
    "lifetime": 60.0,
    "since": 0.0,
}


def changed(**fields: Any) -> str:
    document = json.loads(dump([rich_record()]))
    document["sessions"][0].update(fields)
    return json.dumps(document)


def records(text: str) -> list[PersistentSession]:
    """The records of our own JSON."""
    return read_text("json", text).records


def test_a_record_is_complete_after_a_round_trip() -> None:
    """Every field is the same after a dump and a load, also an unknown one."""
    record, other = (
        rich_record().model_copy(update={"from_the_future": [1]}),
        rich_record("bob", proxy_rotation=ROTATION),
    )
    assert records(dump([record, other])) == [record, other]


def test_the_header_says_what_it_is() -> None:
    """A file begins with its format and schema; one without sessions is a file too."""
    assert json.loads(dump([])) == {"format": "scrapy-sessions", "schema_version": 1, "sessions": []}
    assert records(dump([])) == []


def test_a_newer_schema_is_left_alone() -> None:
    """A file, or a record, of a later version asks for an upgrade."""
    with pytest.raises(NewerSchema, match="upgrade"):
        records('{"format": "scrapy-sessions", "schema_version": 99, "sessions": [{}]}')
    with pytest.raises(NewerSchema, match="upgrade"):
        records(changed(schema_version=99))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"session_id": "a\nb"}, "sessions[0].session_id"),
        ({"namespace": "a\x1b"}, "sessions[0]"),
        ({"status": SECRET}, "sessions[0].status"),
        ({"cookies": [{"name": "a", "value": [SECRET], "domain": "x.example"}]}, "sessions[0].cookies[0].value"),
        ({"data": {"k": "\ud800" + SECRET}}, "sessions[0]"),
        ({"data": json.loads('{"k":' * 150 + f'"{SECRET}"' + "}" * 150)}, "sessions[0]"),
        ({"novel": json.loads("[" * 230 + f'"{SECRET}"' + "]" * 230)}, "sessions[0]"),
        ({"novel": 10**700}, "sessions[0]"),
        ({"headers": {"https://a.example": {"X": f"{SECRET}\r\nEvil: 1"}}}, "sessions[0]"),
        ({"headers": {"*": {"Cookie": SECRET}}}, "sessions[0].headers"),
        ({"user_agent": f"{SECRET}\n"}, "sessions[0].user_agent"),
        ({"proxy": f"user:{SECRET}"}, "sessions[0].proxy"),
        ({"proxy_rotation": ROTATION | {"lifetime": 0.5}}, "sessions[0].proxy_rotation.lifetime"),
        ({"proxy_rotation": ROTATION | {"since": "soon" + SECRET}}, "sessions[0].proxy_rotation.since"),
        ({"proxy_rotation": ROTATION | {"template": f"{{token}}:{SECRET}"}}, "sessions[0].proxy"),
        ({"proxy_rotation": ROTATION | {"template": f"http://u:{SECRET}@proxy.example"}}, "sessions[0]"),
        ({"pages_visited": 2**63}, "sessions[0].pages_visited"),
        ({"pages_visited": -3}, "sessions[0].pages_visited"),
        ({"start_time": 1e300}, "sessions[0].start_time"),
        ({"last_activity": -1}, "sessions[0].last_activity"),
        ({"metrics": {"requests": -1}}, "sessions[0].metrics.requests"),
        ({"metrics": {"responses": {"200": 10**300}}}, "sessions[0].metrics.responses.200"),
        ({"headers": {"not an origin": {"X": SECRET}}}, "sessions[0].headers"),
        ({"headers": {"https://a.example/path": {"X": SECRET}}}, "sessions[0].headers"),
        ({"headers": {"https://a.example:x": {"X": SECRET}}}, "sessions[0].headers"),
        ({"headers": {f"https://user:{SECRET}@a.example": {"X": "1"}}}, "sessions[0].headers"),
        ({"headers": {f"https://user:{SECRET}@a.example": {"X": 5}}}, "sessions[0].headers"),
        ({"schema_version": "1"}, "sessions[0]"),
        ({"schema_version": 0}, "sessions[0]"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], place: str) -> None:
    """What could not be sent or saved is named by its JSON path, without its value, and without one in the context."""
    with pytest.raises(FormatError) as error:
        records(changed(**fields))
    assert error.value.place.startswith(place)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"sessions": []}', "format"),
        ('{"format": "other", "schema_version": 1, "sessions": []}', "format"),
        ('{"format": "scrapy-sessions", "sessions": []}', "schema_version"),
        ('{"format": "scrapy-sessions", "schema_version": -1.5, "sessions": []}', "schema_version"),
        ('{"format": "scrapy-sessions", "schema_version": 0, "sessions": []}', "schema_version"),
        ('{"format": "scrapy-sessions", "schema_version": 0.5, "sessions": []}', "schema_version"),
        ('{"format": "scrapy-sessions", "schema_version": 1}', "sessions"),
        ('{"format": "scrapy-sessions", "schema_version": 1, "sessions": [1]}', "sessions[0]"),
    ],
)
def test_a_bad_header_is_named(text: str, place: str) -> None:
    """The error of another file contains the part at fault."""
    with pytest.raises(FormatError) as error:
        records(text)
    assert error.value.place == place
