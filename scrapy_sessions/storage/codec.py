"""Records encoded as rows and decoded again: versioned JSON, never pickle."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json

from scrapy_sessions.cookies.stored import ENCODED_FIELDS
from scrapy_sessions.exceptions import CorruptRecord, NewerSchema, StoreError
from scrapy_sessions.json_limits import MAX_COUNT, MAX_SIZE, fault_of
from scrapy_sessions.models import SCHEMA_VERSION, Metrics, PersistentSession, Status
from scrapy_sessions.storage.base import Row, next_stamps
from scrapy_sessions.storage.encryption import Cipher, decrypt, encrypt, is_encrypted

RecordMigration = Callable[[dict[str, Any]], dict[str, Any]]

_STATUSES = frozenset(get_args(Status))
_floats = attrgetter(
    *(name for name, field in PersistentSession.model_fields.items() if field.annotation is float),
    *(f"metrics.{name}" for name, field in Metrics.model_fields.items() if field.annotation is float),
)
_counts = attrgetter(
    *(name for name, field in PersistentSession.model_fields.items() if field.annotation in (int, int | None)),
    *(f"metrics.{name}" for name, field in Metrics.model_fields.items() if field.annotation in (int, int | None)),
)
_mappings = tuple(
    name for name, field in PersistentSession.model_fields.items() if get_origin(field.annotation) is dict
)

RECORD_MIGRATIONS: dict[int, RecordMigration] = {}
"""The migrations by the schema version that they start from: each returns the JSON of the next version.

They run on plain JSON, before validation, so that a migration keeps working when the models change later.
"""


def encode(record: PersistentSession, cipher: Cipher | None = None, *, stamps: str = "") -> Row:
    """Return the row of *record*, its body at :data:`~scrapy_sessions.models.SCHEMA_VERSION`, encrypted by *cipher*.

    *stamps* are those of the row that it replaces.

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`, naming the session, for a record that could not be decoded:
    one with values of a wrong type, such as an object in ``data`` that isn't JSON, or beyond the limits of
    :mod:`~scrapy_sessions.json_limits`.
    """
    fault = _fault_in(record) or ("" if record.status in _STATUSES else "its status is not one of a session")
    if fault:
        raise StoreError(f"The record of {_name(record)} can't be saved: {fault}")
    body = b""
    try:
        # "error", because the default writes a value of a wrong type and logs a warning that quotes it.
        body = record.model_dump_json(warnings="error").encode()
    except PydanticSerializationError:
        fault = "a field contains a value of another type, or text with half a character (a lone surrogate)"
    if len(body) > MAX_SIZE:
        fault = f"it has more than {MAX_SIZE // 2**20} MiB"
    if fault:  # raised outside of `except`: pydantic's error quotes the value, so it must not be chained
        raise StoreError(
            f"The record of {_name(record)} can't be saved: {fault}. Check what the spider puts into session.data"
        )
    expires_at, expires_by = record.expiry or (None, None)
    return Row(
        namespace=record.namespace,
        session_id=record.session_id,
        pool=record.pool,
        profile_name=record.profile_name,
        status=record.status,
        start_time=record.start_time,
        last_activity=record.last_activity,
        expires_at=expires_at,
        expires_by=expires_by,
        pages_visited=record.pages_visited,
        actions_count=len(record.actions_performed),
        revision=record.revision,
        stamps=next_stamps(stamps),
        body=encrypt(body, cipher),
    )


def in_plain(row: Row, cipher: Cipher | None) -> Row:
    """Return *row* with its body in plain.

    Raises :exc:`~scrapy_sessions.exceptions.EncryptionKeyError`, and
    :exc:`~scrapy_sessions.exceptions.CorruptRecord` for a body that was changed.
    """
    if not is_encrypted(row.body):
        return row
    return row._replace(body=decrypt(row.body, cipher, f"The stored record of {_name(row)}"))


def decode(row: Row, cipher: Cipher | None = None) -> PersistentSession:
    """Return the record of *row*, decrypted by *cipher* and migrated to the current schema. Unknown fields are kept.

    Raises as :func:`in_plain`, :exc:`~scrapy_sessions.exceptions.NewerSchema` for a record of a newer schema, and
    :exc:`~scrapy_sessions.exceptions.CorruptRecord` for one that can't be read or isn't the row's. Their messages
    name the session and the fields at fault, never a value.
    """
    row, fault = in_plain(row, cipher), ""
    try:
        return _decode(row)
    except ValidationError as error:
        fields = sorted({str(detail["loc"][0]) for detail in error.errors(include_input=False) if detail["loc"]})
        fault = f"its fields don't validate: {', '.join(fields) or 'the whole record'}"
    except Unreadable as error:
        fault = str(error)
    # Raised outside of `except`: pydantic's error contains the values, so it must not even be the context.
    raise CorruptRecord(f"The stored record of {_name(row)} can't be read: {fault}")


def read(content: dict[str, Any]) -> PersistentSession:
    """Return the record of *content*, the JSON of a body of the current schema. Raises pydantic's ValidationError."""
    cookies = content.get("cookies")
    if isinstance(cookies, list):
        content["cookies"] = [
            dict(zip(ENCODED_FIELDS, cookie, strict=False)) if isinstance(cookie, list) else cookie
            for cookie in cookies
        ]
    return PersistentSession.model_validate(content)


class Unreadable(Exception):
    """The reason why a record can't be decoded. It contains no value."""


def up_to_date(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return *content*, the JSON of the record *name*, migrated to the current schema but not validated.

    Raises :exc:`~scrapy_sessions.exceptions.NewerSchema` and :exc:`Unreadable`.
    """
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise Unreadable("it has no schema_version")
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{name} has schema version {version}, and this version of scrapy_sessions reads up to {SCHEMA_VERSION}: "
            f"upgrade the package. The record is left as it is"
        )
    return _migrate(content, version)


def _name(session: Row | PersistentSession) -> str:
    return f"session {session.session_id!r} in namespace {session.namespace!r}"


def _fault_in(record: PersistentSession) -> str:
    """Return why *record* can't be written, or be used after it was read; "": it can. No value is quoted."""
    # JSON has no infinity: pydantic writes null, which isn't valid in these fields.
    if not all(map(math.isfinite, _floats(record))):
        return "times and limits must be finite numbers of seconds (0 in a limit means no limit)"
    if not all(math.isfinite((cookie.expires or 0.0) + cookie.created + cookie.updated) for cookie in record.cookies):
        return "the times of cookies must be finite numbers of seconds"
    if any(isinstance(count, int) and count > MAX_COUNT for count in _counts(record)):
        return "counts and limits must be below 2**53"
    for name in _mappings:
        for key, value in getattr(record, name).items():
            fault = fault_of(key) or fault_of(value, 1)
            if fault:
                return f"session.{name}[{key!r:.80}] is not valid: {fault}"
    extras = [record.model_extra, record.metrics.model_extra, *(cookie.model_extra for cookie in record.cookies)]
    unknown = next(filter(None, map(fault_of, filter(None, extras))), None)
    return f"an unknown field, of a newer version, is not valid: {unknown}" if unknown else ""


def _decode(row: Row) -> PersistentSession:
    if len(row.body) > MAX_SIZE:
        raise Unreadable(f"it has more than {MAX_SIZE // 2**20} MiB")
    try:
        content = from_json(row.body, allow_inf_nan=False)
    except ValueError:
        raise Unreadable("it isn't JSON") from None
    if not isinstance(content, dict):
        raise Unreadable("it isn't a JSON object")
    # The version is checked first: validation would report a record of a newer schema as corrupt.
    record = read(up_to_date(content, f"The stored record of {_name(row)}"))
    for field in ("namespace", "session_id", "start_time", "revision"):
        if getattr(record, field) != getattr(row, field):
            raise Unreadable(f"its {field} isn't that of its row")
    fault = _fault_in(record)
    if fault:
        raise Unreadable(fault)
    return record


def _migrate(content: dict[str, Any], version: int) -> dict[str, Any]:
    while version < SCHEMA_VERSION:
        migration = RECORD_MIGRATIONS.get(version)
        if migration is None:
            raise Unreadable(f"there is no migration from its schema version, {version}")
        try:
            content = migration(content)
        except Exception as error:  # noqa: BLE001  # a migration that fails makes only this record unreadable
            raise Unreadable(f"the migration from schema version {version} failed: {type(error).__name__}") from None
        version += 1
        content["schema_version"] = version
    return content
