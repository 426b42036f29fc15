"""Our own JSON: whole records, after a header that identifies the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from scrapy_sessions.cookies.parse import MAX_EXPIRES
from scrapy_sessions.exceptions import FormatError, NewerSchema, StoreError
from scrapy_sessions.formats.contents import Contents, Reading, Source, read_entries
from scrapy_sessions.formats.fields import Fields
from scrapy_sessions.json_limits import MAX_COUNT
from scrapy_sessions.models import (
    EVERYWHERE,
    SCHEMA_VERSION,
    PersistentSession,
    Profile,
    check_header,
    check_session_id,
)
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.storage.codec import Unreadable, encode, up_to_date

NAME = "scrapy-sessions"
"""The value of the field ``format`` of such a file."""

_IDENTITY = ("user_agent", "language", "timezone", "viewport_width", "viewport_height", "proxy", "meta")


def dump(records: Iterable[PersistentSession]) -> str:
    """Return *records*, complete, as text."""
    return whole(map(piece, records))


def piece(record: PersistentSession) -> str:
    """Return the text of one *record* for :func:`whole`."""
    return json.dumps(record.model_dump(mode="json"), indent=2)


def whole(pieces: Iterable[str]) -> str:
    """Return the text of a file of *pieces*, the results of :func:`piece`."""
    head = json.dumps({"format": NAME, "schema_version": SCHEMA_VERSION})[:-1]
    return f'{head}, "sessions": [\n{",".join(pieces)}\n]}}\n'


def misfit(source: Source, reading: Reading) -> str | None:
    """Say why *source* isn't our own JSON; ``None`` if it is."""
    content = source.document
    if isinstance(content, dict) and content.keys() & {"format", "sessions"}:
        return None
    return 'it has no "format"'


def read(source: Source, reading: Reading) -> Contents:
    """Return the records of our own JSON, at the current schema. Raises NewerSchema, too."""
    document = Fields(source.document, "")
    if document.text("format") != NAME:
        document.fail("format", f"it must be {NAME!r}")
    version = document.number("schema_version")
    if version is None:
        document.fail("schema_version", "it is missing")
    if version < 1 or version % 1:
        document.fail("schema_version", "it must be a whole number, from 1 on")
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"The file has schema version {version:g}, and this version of scrapy_sessions reads up to "
            f"{SCHEMA_VERSION}: upgrade the package"
        )
    if "sessions" not in document:
        document.fail("sessions", "it is missing")
    if document.content["sessions"] is None:
        document.fail("sessions", "it must be a list")
    return Contents(records=read_entries(document.content["sessions"], "sessions", _record, reading), dated=True)


def _record(fields: Fields) -> PersistentSession:
    path = fields.path
    try:
        record = PersistentSession.model_validate(up_to_date(fields.content, path))
        _check(record, path)
        return record
    except (FormatError, NewerSchema):
        raise
    except ValidationError as error:
        detail = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = _path(detail["loc"])
        # The messages of our validators quote no secret; pydantic's name the type that is expected.
        fault = FormatError(f"{path}.{where}" if where else path, detail["msg"].removeprefix("Value error, "))
    except (Unreadable, StoreError, ValueError) as error:  # none quotes a value
        fault = FormatError(path, str(error))
    except RecursionError:
        fault = FormatError(path, "it is nested too deeply")
    raise fault  # here, outside of `except`: pydantic's error contains the values


def _check(record: PersistentSession, path: str) -> None:
    """Raise :exc:`ValueError` for values that pass the models, but can't be sent or saved.

    The models allow them, so that a record of a store with an unusual number is read, and not quarantined.
    """
    check_session_id(record.namespace)
    for origin, headers in record.headers.items():
        if origin != EVERYWHERE:
            if not _is_origin(origin):
                raise FormatError(f"{path}.headers", "a key is no origin, as https://shop.example is one")
            for name, value in headers.items():
                check_header(name, value)
    identity = {name: getattr(record, name) for name in _IDENTITY}
    Profile(headers=record.headers.get(EVERYWHERE, {}), **identity)
    if record.proxy_rotation is not None:
        rotation = record.proxy_rotation
        Profile(proxy=rotation["template"], proxy_lifetime=rotation["lifetime"])
    for name in ("start_time", "last_activity"):
        if not 0 <= getattr(record, name) <= MAX_EXPIRES:
            raise FormatError(f"{path}.{name}", "it must be UNIX seconds, from 1970 to the year 9999")
    for name, number in _counts(record):
        if not 0 <= number <= MAX_COUNT:
            raise FormatError(f"{path}.{name}", "it must be a number from 0 to 2**53 - 1")
    encode(record)


def _counts(record: PersistentSession) -> Iterator[tuple[str, float]]:
    for name in ("pages_visited", "generation", "max_uses"):
        yield name, getattr(record, name)
    for name in ("requests", "logins", "failures", "bytes", "latency"):
        yield f"metrics.{name}", getattr(record.metrics, name)
    for status, number in record.metrics.responses.items():
        yield f"metrics.responses.{status:.10}", number


def _is_origin(text: str) -> bool:
    try:
        return origin_of(text) == text
    except ValueError:
        return False


def _path(loc: tuple[Any, ...]) -> str:
    # Names of headers, cookie fields and origins. Never a value, nor the password of a URL that is no origin.
    text = "".join(f"[{part}]" if isinstance(part, int) else ".…" if "@" in part else f".{part}" for part in loc)
    return text.removeprefix(".")
