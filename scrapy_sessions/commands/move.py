"""Copy all sessions to another store, such as from a file to a Redis server or
back: with their history, shared data, counters and events. Stop the crawls
first. The old store is not changed. If the command is interrupted, call it again:
it copies the rest.

If both stores have a session, its later state stays. If they have different
sessions of one id, that of the new store stays, and the exit code is 1.
Quarantined records are not copied. With an encryption key, all records are
encrypted with the first key.

  scrapy sessions move --to redis://localhost:6379/0
  scrapy sessions move --store redis://localhost:6379/0 --to sqlite:///new.db
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from scrapy_sessions.analytics.model import Event, HourCounts
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.exceptions import CorruptRecord
from scrapy_sessions.storage import AnalyticsStore, SessionStore, SharedStore
from scrapy_sessions.storage.base import Key, Outcome, Row
from scrapy_sessions.storage.codec import in_plain
from scrapy_sessions.storage.encryption import decrypt, encrypt

HELP = "copy all sessions to another store"

_PAGE = 200
_NAMED = 5  # sessions that are named
_EVENTS = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", metavar="URL", required=True, help="the new store: a URL as in SESSIONS_STORE, or a file"
    )


async def run(context: Context) -> int:
    """Copy, and return 1 if a session of the new store stays in the way of another one."""
    await context.open()
    old, new = context.store, context.store_of(context.options.to)
    if not new.lasting:
        raise CommandError(f"{new.location} ends with this command: name another store with --to")
    if new.location == old.location:
        raise CommandError(f"--to names the store that the sessions are in: {old.location}")
    await new.open()
    try:
        await new.check_key()
        return await _Move(context, old, new).run()
    finally:
        await new.close()


class _Move:
    """Copies from *old* to *new*."""

    def __init__(self, context: Context, old: SessionStore, new: SessionStore) -> None:
        self._context = context
        self._old = old
        self._new = new
        self._counts: Counter[str] = Counter()
        self._in_the_way: list[str] = []
        self._namespaces: set[str] = set()

    async def run(self) -> int:
        with self._context.progress("Copying sessions") as advance:
            async for page in self._context.pages(_PAGE):
                await self._copy([Key(info["namespace"], info["session_id"]) for info in page])
                advance(len(page))
        if isinstance(self._old, AnalyticsStore) and isinstance(self._new, AnalyticsStore):
            await self._copy_analytics(self._old, self._new)
        if isinstance(self._old, SharedStore) and isinstance(self._new, SharedStore):
            await self._copy_shared(self._old, self._new)
        return await self._report()

    async def _copy(self, keys: Sequence[Key]) -> None:
        self._namespaces.update(key.namespace for key in keys)
        rows, stored = [], []
        for row, there in zip(await self._old.load_many(keys), await self._new.load_many(keys), strict=True):
            if row is None:
                continue
            if there is None or (there.start_time == row.start_time and there.revision < row.revision):
                rows.append(self._encrypted(row))
                stored.append(there)
            elif there.start_time == row.start_time and (there.revision > row.revision or there.stamp == row.stamp):
                self._counts["there"] += 1
            else:
                self._in_the_way.append(_named(row))
        for row, outcome in zip(rows, await self._new.replace(rows, stored), strict=True):
            if outcome is Outcome.SAVED:
                self._counts["copied"] += 1
            else:  # another process has just saved it there
                self._in_the_way.append(_named(row))

    def _encrypted(self, row: Row) -> Row:
        cipher = self._new.cipher
        if cipher is None or cipher.is_current(row.body):
            return row
        try:
            return row._replace(body=cipher.encrypt(in_plain(row, cipher).body))
        except CorruptRecord:  # it stays one that can't be read
            return row

    async def _copy_analytics(self, old: AnalyticsStore, new: AnalyticsStore) -> None:
        namespace = self._context.options.namespace
        # What one call adds is added as a whole: after an interruption, the rows that are there are left alone.
        hours = await old.hour_counts(namespace)
        there = {_place(row) for row in await new.hour_counts(namespace)}
        missing = [row for row in hours if _place(row) not in there]
        for _, rows in groupby(missing, key=lambda row: (row.hour, row.namespace)):
            await new.add_analytics(list(rows), [])
        events = await old.events(namespace)
        added = list((Counter(events) - Counter(await new.events(namespace))).elements())
        added.sort(key=lambda event: event.time)
        for start in range(0, len(added), _EVENTS):
            await new.add_analytics([], added[start : start + _EVENTS])
        self._namespaces.update(_namespaces(hours), _namespaces(events))
        self._counts["hours"], self._counts["events"] = len(missing), len(added)

    async def _copy_shared(self, old: SharedStore, new: SharedStore) -> None:
        for namespace in sorted(self._namespaces):
            body, _ = await old.read_shared(namespace)
            if body is None:
                continue
            cipher, what = self._new.cipher, f"The shared data of namespace {namespace!r}"
            plain = decrypt(body, cipher, what)
            there, version = await new.read_shared(namespace)
            if there is None and await new.write_shared(namespace, version, encrypt(plain, cipher)):
                self._counts["shared"] += 1
            elif there is None or decrypt(there, cipher, what) != plain:
                self._in_the_way.append(f"the shared data of namespace {namespace!r}")

    async def _report(self) -> int:
        context, counts = self._context, self._counts
        already = f", {counts['there']} were there" if counts["there"] else ""
        context.write(f"{count(counts['copied'], 'session')} copied to {self._new.location}{already}")
        more = [
            f"{count(counts[name], text)}"
            for name, text in (("hours", "hourly count"), ("events", "event"), ("shared", "object of shared data"))
            if counts[name]
        ]
        if more:
            context.write(f"Also copied: {', '.join(more)}")
        quarantined = await self._old.quarantined()
        if quarantined:
            context.note(f"{count(len(quarantined), 'quarantined record')} not copied")
        for name in self._in_the_way[:_NAMED]:
            context.note(f"Left as it is in the new store, which has another: {name}")
        if self._in_the_way:
            context.note(f"{count(len(self._in_the_way), 'conflict')}: delete what is in the way, and call this again")
            return 1
        context.write("To use the new store, set SESSIONS_STORE to it. The old one was left as it is")
        return 0


def _named(row: Row) -> str:
    return f"session {row.session_id!r} in namespace {row.namespace!r}"


def _place(row: HourCounts) -> tuple[int, str, str | None, str]:
    return row.hour, row.namespace, row.pool, row.session_id


def _namespaces(rows: Iterable[HourCounts | Event]) -> set[str]:
    return {row.namespace for row in rows}
