"""What an import would change, and changing it: first all is planned, then it is done in one go.

Cookies of a file are merged into a session, whole records take their place in a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from scrapy_sessions.browser_session import BrowserSession
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.entry import Entry, Identity
from scrapy_sessions.cookies.rules import check
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.formats import Contents
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage.base import Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode

__all__ = ["Change", "Merge", "RecordPlan", "apply", "merge", "plan_records", "save_records"]

What = Literal["added", "changed", "same", "older", "removed", "expired", "refused"]


class Change(NamedTuple):
    """What becomes of one cookie. *reason*, of a refused one, is a key of ``cookies.REFUSAL_REASONS``."""

    what: What
    cookie: Cookie
    reason: str | None = None


class Merge(NamedTuple):
    """A session's cookies and local storage after an import, and what came of each cookie."""

    cookies: list[Cookie]
    local_storage: dict[str, dict[str, str]]
    changes: list[Change]


def merge(session: PersistentSession | None, contents: Contents, *, now: float, replace: bool) -> Merge:
    """Merge *contents* into *session* (``None``: a new one). Pure.

    Of two cookies with the same identity the newest wins; an import without times of its own is the newest. With
    *replace*, the cookies and the local storage of *contents* become the only ones. *now* is UNIX seconds.
    """
    old = {Entry.of(cookie).identity: cookie for cookie in (session.cookies if session is not None else ())}
    result: dict[Identity, Cookie] = {} if replace else dict(old)
    changes: dict[Identity, Change] = {}
    for cookie in contents.cookies:
        entry = Entry.of(cookie)
        identity = entry.identity
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
            if Entry.of(before).says_the_same(entry):
                what, cookie = "same", before  # noqa: PLW2901
            elif contents.dated and before.updated > cookie.updated:
                what, cookie = "older", before  # noqa: PLW2901
            else:
                newest = cookie.updated if contents.dated else max(cookie.updated, before.updated)
                cookie = cookie.model_copy(update={"created": before.created, "updated": newest})  # noqa: PLW2901
        result[identity] = cookie
        changes[identity] = Change(what, cookie)
    jar = SessionCookieJar(result.values(), clock=lambda: now)  # which is bounded: a large file may push out others
    kept = jar.dump()
    left = {Entry.of(cookie).identity for cookie in kept}
    for identity, cookie in {**old, **result}.items():
        if identity in left or Entry.of(cookie).is_expired(now):
            continue
        changes[identity] = Change("refused", cookie, "evicted") if identity in result else Change("removed", cookie)
    storage = {} if replace or session is None else {k: dict(v) for k, v in session.local_storage.items()}
    for origin, entries in contents.local_storage.items():
        storage.setdefault(origin, {}).update(entries)
    return Merge(kept, storage, list(changes.values()))


def apply(merged: Merge, session: BrowserSession) -> None:
    """Give the live *session* what :func:`merge` made for it. A new one counts as logged in, if it got cookies."""
    session.cookies.restore(merged.cookies)
    session.forget_identity()
    session.local_storage.clear()
    session.local_storage.update(merged.local_storage)
    if session.status == "new" and merged.cookies:
        session.status = "ready"  # or a crawl would begin with a login, and lose the imported one
    session.changed()


class RecordPlan(NamedTuple):
    """A record to be saved, the row it replaces, and the cookies it loses because no jar would take them."""

    record: PersistentSession
    stored: Row | None
    refused: list[Change]


async def plan_records(
    store: SessionStore | None, records: Iterable[PersistentSession], *, namespace: str | None, session_id: str | None
) -> list[RecordPlan]:
    """Return the plan for *records*: in *namespace* and under *session_id*, if given, else under their own.

    *store* is ``None`` where there is none yet. Raises :exc:`~scrapy_sessions.exceptions.SessionError` for two records
    that would be one.
    """
    plans: dict[Key, RecordPlan] = {}
    for each in records:
        key = Key(namespace or each.namespace, session_id or each.session_id)
        if key in plans:
            raise SessionError(f"The file has two sessions {key.session_id!r} of {key.namespace!r}: import one of them")
        reasons = {id(cookie): check(Entry.of(cookie)) for cookie in each.cookies}
        refused = [Change("refused", cookie, reasons[id(cookie)]) for cookie in each.cookies if reasons[id(cookie)]]
        cookies = [cookie for cookie in each.cookies if reasons[id(cookie)] is None]
        place = {"namespace": key.namespace, "session_id": key.session_id, "cookies": cookies}
        stored = await store.load(key) if store is not None else None
        plans[key] = RecordPlan(each.model_copy(update=place), stored, refused)
    return list(plans.values())


async def save_records(store: SessionStore, plans: Sequence[RecordPlan]) -> None:
    """Save what *plans* say in one transaction; what they replace is replaced.

    If the store fails, nothing is changed. Raises :exc:`~scrapy_sessions.exceptions.SessionError` for sessions that
    another process has saved since the plan was made: those are left as that process has them.
    """
    # A session of another birth is another session: its record makes room, and whoever holds it won't bring it back.
    others = [plan for plan in plans if plan.stored is not None and plan.stored.start_time != plan.record.start_time]
    room = [plan.stored for plan in others if plan.stored is not None]
    gone = await store.delete([row.key for row in room], [row.revision for row in room]) if room else []
    rows = [
        _row(plan.record, 1 if plan.stored is None or plan in others else plan.stored.revision + 1) for plan in plans
    ]
    try:
        outcomes = await store.save(rows)
    except BaseException:
        back = [_row(decode(row), 1) for row, was_there in zip(room, gone, strict=True) if was_there]
        if back:
            await store.save(back)
        raise
    late = [row.session_id for row, outcome in zip(rows, outcomes, strict=True) if outcome is not Outcome.SAVED]
    if late:
        names = ", ".join(map(repr, late[:5])) + ("…" if len(late) > 5 else "")
        raise SessionError(f"Another process saved {names} meanwhile: they were left as they are. Import them again")


def _row(record: PersistentSession, revision: int) -> Row:
    return encode(record.model_copy(update={"revision": revision}))
