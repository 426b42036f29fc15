"""Stores full of sessions, as the measures need them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.chains import ACTIONS, COOKIES
from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage.base import Key, Row
from scrapy_sessions.storage.sqlite.store import SQLiteStore

__all__ = ["NAMESPACE", "fill_store", "grow"]

NAMESPACE = "bench"

_URL = urlsplit("https://shop.example/")
_HOURS = 12  # over which the sessions were last active
_BATCH = 2000
_TEMPLATE = "session-to-be-copied"


async def fill_store(path: Path, n: int) -> None:
    """Make the SQLite file *path* with *n* sessions, ``s0`` being the one of the newest activity.

    One is grown by a manager, and the others are copies of its row, under their own ids and times: to grow a million
    would take longer than all measures. If the rows can't be copied so, all are grown.
    """
    now = float(int(time.time()))
    template = await _template(path, now)
    ids = sorted(f"s{number}" for number in range(n))  # by id: the index of the keys then grows at its end
    ages = {session_id: _HOURS * 3600 * place / n for place, session_id in enumerate(ids)}
    if template is None:
        for start in range(0, n, _BATCH):
            async with _manager(path, now - _HOURS * 3600) as manager:
                await grow(manager, ids[start : start + _BATCH])
        return
    store = SQLiteStore(path)
    await store.open()
    try:
        await store.delete([template.key])
        for start in range(0, n, _BATCH):
            await store.save(list(_copies(template, now, ages, ids[start : start + _BATCH])))
    finally:
        await store.close()
    async with _manager(path, now) as manager:
        for session_id in (ids[0], ids[-1]):
            record = await manager.load_session(session_id)
            if record is None or record.session_id != session_id or len(record.cookies) != COOKIES:
                raise AssertionError("The copied rows are no sessions")


async def grow(manager: SessionManager, ids: list[str], actions: int = ACTIONS) -> None:
    """Let *manager* have sessions of these *ids*, with as many cookies and *actions* as they get, all saved."""
    for session_id in ids:
        session = await registry_of(manager).get(session_id)
        session.jar.store([f"c{i}=value-{i}-{'v' * 16}; Path=/; Max-Age=2592000" for i in range(COOKIES)], _URL)
        for i in range(actions):
            session.record(f"GET https://shop.example/p/{i} 200")
    await manager.flush()


def _manager(path: Path, now: float) -> SessionManager:
    # None of them expires, and all of them stand in the index of those that will.
    settings = SessionsSettings(save_interval=3600, history_limit=ACTIONS, idle_timeout=30 * 86400)
    return SessionManager(path, namespace=NAMESPACE, settings=settings, clock=lambda: now)


async def _template(path: Path, now: float) -> Row | None:
    """Return the row of a session grown now, ``None`` if its id and times can't be told from the rest of its body."""
    async with _manager(path, now) as manager:
        await grow(manager, [_TEMPLATE])
        row = await manager.store.load(Key(NAMESPACE, _TEMPLATE))
        if row is not None and row.body.count(_TEMPLATE.encode()) == 1 and json.dumps(now).encode() in row.body:
            return row
        await manager.delete_session(_TEMPLATE)
    return None


def _copies(template: Row, now: float, ages: dict[str, float], ids: list[str]) -> Iterator[Row]:
    before, after = template.body.split(_TEMPLATE.encode())
    stamp = json.dumps(now).encode()
    fields = {name: getattr(template, name) for name in Row.__annotations__}
    for session_id in ids:
        at = now - ages[session_id]
        moved = json.dumps(at).encode()
        changes = {
            "session_id": session_id,
            "start_time": at,
            "last_activity": at,
            "expires_at": None if template.expires_at is None else template.expires_at - now + at,
            "body": b"".join((before.replace(stamp, moved), session_id.encode(), after.replace(stamp, moved))),
        }
        yield Row(**{**fields, **changes})
