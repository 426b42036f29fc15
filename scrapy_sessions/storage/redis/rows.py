"""Rows on a server: loaded, saved and deleted in parts, each by one script; and whether the server lost them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.base import Key, Outcome, Row
from scrapy_sessions.storage.redis.layout import (
    MAX_BODY,
    MAX_COLUMNS,
    NAMESPACES,
    Malformed,
    columns_of,
    packed,
    row_of,
)
from scrapy_sessions.storage.redis.listing import SetAside
from scrapy_sessions.storage.redis.server import Server

_OUTCOMES = (Outcome.SAVED, Outcome.CONFLICT, Outcome.DELETED, Outcome.FENCED, Outcome.FAULT)
# What one script gets or returns at most, so that it holds the server, and the event loop, for about a millisecond.
_ROWS = 50
_KEYS = 200
_BYTES = 1_000_000


class RedisRows:
    """The rows on a server.

    :param server: returns it, if the store is open
    :param set_aside: called with what can't be read
    """

    def __init__(self, server: Callable[[], Server], set_aside: SetAside) -> None:
        self._server = server
        self._set_aside = set_aside
        self._epochs: dict[str, str] = {}  # of the namespaces in use; "": it has none yet
        self._used: set[str] = set()  # the namespaces that were entered into the set of all
        self._lost = 0  # how often the data of a namespace was lost

    async def epoch(self) -> str:
        for namespace, seen in list(self._epochs.items()):
            self._note_epoch(namespace, seen, await self._server().run("epoch", namespace))
        return str(self._lost)

    async def use(self, namespace: str) -> None:
        """Enter *namespace* into the set of all. Called before something is written."""
        if namespace not in self._used:
            await self._server().command("SADD", NAMESPACES, namespace)
            self._used.add(namespace)

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        rows: dict[Key, Row | None] = {}
        for namespace, places in _by_namespace(key.namespace for key in keys).items():
            wanted = [keys[place] for place in places]
            while wanted:
                part = wanted[:_KEYS]
                ids = [key.session_id for key in part]
                seen = self._epochs.get(namespace, "")
                epoch, *found = await self._server().run("load", namespace, MAX_BODY, _BYTES, *ids)
                self._note_epoch(namespace, seen, epoch)
                for key, fields in zip(part, found, strict=False):
                    rows[key] = await self._loaded(key, fields)
                wanted = wanted[len(found) :]
        return [rows[key] for key in keys]

    async def _loaded(self, key: Key, fields: Any) -> Row | None:
        if fields is None:
            return None
        try:
            if isinstance(fields, bytes):
                raise Malformed(fields.decode())
            return row_of(key, *fields)
        except Malformed as fault:
            await self._set_aside(key, str(fault))
            return None

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None) -> list[Outcome]:
        conditions = [("", "") if row.revision == 1 else (str(row.revision - 1), repr(row.start_time)) for row in rows]
        return await self._save(rows, conditions, tokens or [None] * len(rows), "save")

    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        conditions = [("", "") if old is None else (str(old.revision), repr(old.start_time)) for old in stored]
        return await self._save(rows, conditions, [None] * len(rows), "replace")

    async def _save(
        self,
        rows: Sequence[Row],
        conditions: Sequence[tuple[str, str]],
        tokens: Sequence[int | None],
        mode: str,
    ) -> list[Outcome]:
        outcomes = [Outcome.FAULT] * len(rows)
        for namespace, places in _by_namespace(row.namespace for row in rows).items():
            part: list[int] = []
            arguments: list[str | bytes] = []
            size = 0
            for place in places:
                packed_row = _packed(rows[place], *conditions[place], tokens[place])
                if packed_row is not None:
                    part.append(place)
                    arguments += packed_row
                    size += sum(map(len, packed_row))
                if part and (place == places[-1] or len(part) == _ROWS or size > _BYTES):
                    once = mode == "replace" or ("", "") in [conditions[each] for each in part]
                    found = await self._save_part(namespace, arguments, mode, once=once)
                    for each, outcome in zip(part, found, strict=True):
                        outcomes[each] = outcome
                    part, arguments, size = [], [], 0
        return outcomes

    async def _save_part(
        self, namespace: str, arguments: Sequence[str | bytes], mode: str, *, once: bool
    ) -> list[Outcome]:
        """Save what *arguments* say. With *once*, it must not be done again after another process has deleted it."""
        server = self._server()
        await self.use(namespace)
        seen = self._epochs.get(namespace, "")
        call = os.urandom(8).hex()
        answer = await server.run("save", namespace, call if once else "", mode, seen, call, *arguments)
        outcomes, _, epoch = answer.partition(b" ")
        self._note_epoch(namespace, seen, epoch)
        if not outcomes:
            raise StoreError(
                f"The session store {server.location} has lost the data of namespace {namespace!r}: the sessions in "
                f"memory are saved again"
            )
        return [_OUTCOMES[digit - ord("0")] for digit in outcomes]

    async def delete(
        self, keys: Sequence[Key], revisions: Sequence[int] | None, start_times: Sequence[float] | None
    ) -> list[bool]:
        deleted = [False] * len(keys)
        for namespace, places in _by_namespace(key.namespace for key in keys).items():
            for start in range(0, len(places), _KEYS):
                part = places[start : start + _KEYS]
                arguments: list[str] = []
                for place in part:
                    revision = "" if revisions is None else str(revisions[place])
                    started = "" if start_times is None else repr(start_times[place])
                    arguments += (keys[place].session_id, revision, started)
                was_there = await self._server().run_once("delete", namespace, *arguments)
                for place, each in zip(part, was_there, strict=True):
                    deleted[place] = each == ord("1")
        return deleted

    def _note_epoch(self, namespace: str, seen: str, epoch: bytes) -> None:
        """Note the *epoch* of *namespace* in an answer; *seen* was the known one when the call was sent."""
        before, now = self._epochs.get(namespace, ""), epoch.decode("latin-1")
        if before != seen:  # another answer has changed it meanwhile, and this one may be older
            return
        if before and before != now:
            self._lost += 1
            self._used.clear()
        self._epochs[namespace] = now


def _by_namespace(namespaces: Iterable[str]) -> dict[str, list[int]]:
    """Return the places of each namespace in *namespaces*."""
    places: dict[str, list[int]] = {}
    for place, namespace in enumerate(namespaces):
        places.setdefault(namespace, []).append(place)
    return places


def _packed(row: Row, old_revision: str, old_start: str, token: int | None) -> tuple[str | bytes, ...] | None:
    """Return the arguments of *row* for the script that saves; ``None`` if they could not be read back."""
    body = packed(row.body)
    try:
        session_id, columns = row.session_id.encode(), columns_of(row).encode()
        for name in (row.namespace, row.pool, row.profile_name):
            (name or "").encode()  # in columns half a character is an escape
    except UnicodeEncodeError:
        return None
    if len(columns) > MAX_COLUMNS or len(body) > MAX_BODY:
        return None
    return (
        session_id,
        old_revision,
        old_start,
        "" if token is None else str(token),
        columns,
        body,
        repr(-row.last_activity),
        "" if row.expires_at is None else repr(row.expires_at),
    )
