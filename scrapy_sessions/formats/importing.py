"""Importing: the changes are planned first, then made at once.

The cookies of a file are merged into a session; whole records are saved in a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.rules import check
from scrapy_sessions.cookies.stored import Identity, StoredCookie
from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, NewerSchema, SessionError
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.models import EVERYWHERE, Cookie, PersistentSession
from scrapy_sessions.safe_repr import safe_repr
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage.base import Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode
from scrapy_sessions.storage.encryption import Cipher

What = Literal["added", "changed", "same", "older", "removed", "expired", "refused"]


class Change(NamedTuple):
    """The change of one cookie. The *reason* of a refused one is a key of ``cookies.REFUSAL_REASONS``."""

    what: What
    cookie: Cookie
    reason: str | None = None


class Merge(NamedTuple):
    """The cookies and storages of a session after an import, its new headers, and the change of each cookie."""

    cookies: list[Cookie]
    local_storage: dict[str, dict[str, str]]
    changes: list[Change]
    headers: dict[str, dict[str, str]]
    indexed_db: dict[str, list[Any]]

    def __repr__(self) -> str:
        return safe_repr(self, "cookies", "changes")


def merge(session: PersistentSession | None, contents: Contents, *, now: float, replace: bool) -> Merge:
    """Merge *contents* into *session* (``None``: a new one). Pure.

    Of two cookies with the same identity the newest is kept; cookies from a file without times are the newest. A
    guessed cookie is only a value: if *session* sends a cookie of that name to the same URL, that cookie gets the value
    and keeps its attributes. With *replace*, the cookies and storages of *contents* replace all others. *now*
    is UNIX seconds.
    """
    stored = session.cookies if session is not None else []
    known = SessionCookieJar(stored, clock=lambda: now)
    old = {StoredCookie.of(cookie).identity: cookie for cookie in stored}
    result: dict[Identity, Cookie] = {} if replace else dict(old)
    changes: dict[Identity, Change] = {}
    for cookie in contents.cookies:
        url = contents.guessed.get((cookie.domain, cookie.name))
        if url is not None:
            for sent in known.sent_to(urlsplit(url), cookie.name)[:1]:
                cookie = sent.model_copy(update={"value": cookie.value, "updated": cookie.updated})  # noqa: PLW2901
        entry = StoredCookie.of(cookie)
        identity = entry.identity
        if url is not None and identity in changes and changes[identity].cookie.updated > cookie.updated:
            continue  # a cookie of the session that was sent to two hosts: the last value is kept
        reason = check(entry)
        if reason is not None:
            changes[identity] = Change("refused", cookie, reason)
            continue
        if entry.is_expired(now):
            changes[identity] = Change("expired", cookie)
            continue
        before = old.get(identity)
        what: What = "added"
        if before is not None:
            what = "changed"
            if StoredCookie.of(before).same_content(entry):
                what, cookie = "same", before  # noqa: PLW2901
            elif contents.dated and before.updated > cookie.updated:
                what, cookie = "older", before  # noqa: PLW2901
            else:
                newest = cookie.updated if contents.dated else max(cookie.updated, before.updated)
                cookie = cookie.model_copy(update={"created": before.created, "updated": newest})  # noqa: PLW2901
        result[identity] = cookie
        changes[identity] = Change(what, cookie)
    jar = SessionCookieJar(result.values(), clock=lambda: now)  # bounded: a large file may evict other cookies
    kept = jar.dump()
    left = {StoredCookie.of(cookie).identity for cookie in kept}
    for identity, cookie in {**old, **result}.items():
        if identity in left or StoredCookie.of(cookie).is_expired(now):
            continue
        changes[identity] = Change("refused", cookie, "evicted") if identity in result else Change("removed", cookie)
    storage = {} if replace or session is None else {k: dict(v) for k, v in session.local_storage.items()}
    for origin, entries in contents.local_storage.items():
        storage.setdefault(origin, {}).update(entries)
    headers = {origin: each for origin, each in contents.headers.items() if origin != EVERYWHERE}
    databases = {} if replace or session is None else session.indexed_db
    return Merge(kept, storage, list(changes.values()), headers, {**databases, **contents.indexed_db})


def apply(merged: Merge, session: SessionRuntime) -> None:
    """Apply a result of :func:`merge` to the live *session*. A new one with cookies or headers counts as logged in."""
    session.jar.restore(merged.cookies)
    session.forget_identity()
    session.set_data("local_storage", merged.local_storage)
    session.set_data("indexed_db", merged.indexed_db)
    for origin, headers in merged.headers.items():
        for name, value in headers.items():
            session.bound_headers.set(name, value, url=origin)
    if merged.cookies or merged.headers:
        session.mark_ready()  # else a crawl would log in again, and lose the imported login
    session.changed()


class RecordPlan(NamedTuple):
    """A record to be saved, the row it replaces, and the refused cookies, which it loses."""

    record: PersistentSession
    stored: Row | None
    refused: list[Change]


async def plan_records(
    store: SessionStore | None, records: Iterable[PersistentSession], *, namespace: str | None, session_id: str | None
) -> list[RecordPlan]:
    """Return the plan for *records*. *namespace* and *session_id*, if given, replace their own.

    *store* is ``None`` if it doesn't exist yet. Raises :exc:`~scrapy_sessions.exceptions.SessionError` for two records
    of the same session.
    """
    plans: dict[Key, RecordPlan] = {}
    for each in records:
        key = Key(namespace or each.namespace, session_id or each.session_id)
        if key in plans:
            raise SessionError(f"The file has two sessions {key.session_id!r} of {key.namespace!r}: import one of them")
        reasons = {id(cookie): check(StoredCookie.of(cookie)) for cookie in each.cookies}
        refused = [Change("refused", cookie, reasons[id(cookie)]) for cookie in each.cookies if reasons[id(cookie)]]
        cookies = [cookie for cookie in each.cookies if reasons[id(cookie)] is None]
        place = {"namespace": key.namespace, "session_id": key.session_id, "cookies": cookies}
        stored = await store.load(key) if store is not None else None
        plans[key] = RecordPlan(each.model_copy(update=place), stored, refused)
    return list(plans.values())


async def save_records(store: SessionStore, plans: Sequence[RecordPlan]) -> None:
    """Save the records of *plans*, each in place of its stored row, in one transaction.

    If the store fails, nothing is changed. Raises :exc:`~scrapy_sessions.exceptions.SessionError` for sessions that
    another process has saved or deleted since the plan was made: they are left unchanged, the others are saved.
    """
    stored = [plan.stored for plan in plans]
    rows = [_row_in_place_of(plan.stored, plan.record, store.cipher) for plan in plans]
    outcomes = await store.replace(rows, stored)
    late = [row.session_id for row, outcome in zip(rows, outcomes, strict=True) if outcome is not Outcome.SAVED]
    if late:
        names = ", ".join(map(repr, late[:5])) + ("…" if len(late) > 5 else "")
        raise SessionError(
            f"Another process saved or deleted {names} meanwhile: they were left as they are. Import them again"
        )


def _row_in_place_of(old: Row | None, record: PersistentSession, cipher: Cipher | None) -> Row:
    """Return the row of *record*, so that processes that use the replaced session *old* take it over."""
    if old is None or old.start_time != record.start_time:  # another session: they don't save the replaced one again
        return encode(record.model_copy(update={"revision": 1}), cipher)
    generation = record.generation
    with suppress(CorruptRecord, EncryptionKeyError, NewerSchema):  # which may be why it is replaced
        generation = max(generation, decode(old, cipher).generation)
    # The higher generation wins, whatever they have changed since.
    successor = {"revision": old.revision + 1, "generation": generation + 1}
    return encode(record.model_copy(update=successor), cipher, stamps=old.stamps)
