"""Deleting sessions: by request, or because they have expired. No late save brings one back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from scrapy_sessions.models import ExpiryReason, PersistentSession, SessionInfo
from scrapy_sessions.sessions.cache import SessionCache
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.sessions.write_behind import WriteBehind
from scrapy_sessions.storage.base import Expired, Key, SessionStore

_PAGE = 500  # expired sessions that are deleted in one transaction


class SessionRemover:
    """Deletes sessions from the store and from memory, counts them, and records their events."""

    def __init__(
        self,
        store: SessionStore,
        *,
        live: SessionCache,
        writer: WriteBehind,
        analytics: Collector,
        count: Callable[[str, int], None],
        expired: Callable[[str, SessionRuntime | None, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._live = live
        self._writer = writer
        self._analytics = analytics
        self._count = count
        self._expired = expired
        self._clock = clock
        self.deletions = 0
        """How many deletions by request have ended: what was loaded during one may be gone."""

    def close(self, session: SessionRuntime) -> None:
        """Remove *session* from memory. It is not saved any more."""
        self._analytics.collect(session)
        session.closed = True
        session.wake_first()
        self._writer.discard(session)
        self._live.remove(session)

    async def delete(self, key: Key) -> bool:
        """Delete the session, and return whether it was there."""
        async with self._writer.deletion([key]):
            await self._writer.look_at_store()
            live = self._live_of(key)
            self._close_all([key])
            (deleted,) = await self._store.delete([key])
            self._close_all([key])  # it may have been loaded meanwhile
            self.deletions += 1
        if not deleted and live is None:
            return False
        self._note_deleted(key, live.pool if live is not None else None)
        return True

    async def delete_many(self, infos: Sequence[SessionInfo]) -> int:
        """As :meth:`delete`, in one transaction. Returns how many there were."""
        keys = [Key(info["namespace"], info["session_id"]) for info in infos]
        async with self._writer.deletion(keys):
            await self._writer.look_at_store()
            self._close_all(keys)
            gone = await self._store.delete(keys)
            self._close_all(keys)
            self.deletions += 1
        for info, key, deleted in zip(infos, keys, gone, strict=True):
            if deleted:
                self._note_deleted(key, info["pool"])
        return sum(gone)

    async def delete_expired(
        self,
        namespace: str | None,
        progress: Callable[[int], None] | None = None,
        reason_of: Callable[[Expired], Awaitable[ExpiryReason | None]] | None = None,
    ) -> Counter[str]:
        """Delete the expired sessions of *namespace* (``None``: of all) that aren't in use. Returns how many by reason.

        *progress* is called with the number of deleted sessions after each page. *reason_of* returns the reason for
        each session, or ``None`` to keep it.
        """
        reasons: Counter[str] = Counter()
        spared: set[Key] = set()
        while True:
            found = await self._store.expired(namespace, now=self._clock(), limit=_PAGE + len(spared))
            page = [expired for expired in found if expired.key not in spared]
            if not page:
                return reasons
            found, page = page, []
            for expired in found:
                reason = None if self._in_use(expired.key) else expired.reason
                if reason is not None and reason_of is not None:
                    reason = await reason_of(expired)
                if reason is None:
                    spared.add(expired.key)
                else:
                    page.append(expired._replace(reason=reason))
            keys = [expired.key for expired in page]
            async with self._writer.deletion(keys):
                revisions, starts = [each.revision for each in page], [each.start_time for each in page]
                gone = await self._store.delete(keys, revisions, starts)
            for expired, deleted in zip(page, gone, strict=True):
                if deleted:
                    live = self._live_of(expired.key)
                    if live is not None:
                        self.close(live)
                    self._note_expired(expired.key, live.pool if live is not None else None, expired.reason, live)
                    reasons[expired.reason] += 1
                else:
                    spared.add(expired.key)  # saved, or created anew, by another process meanwhile
            if progress is not None:
                progress(sum(gone))

    async def delete_one_expired(self, key: Key, record: PersistentSession, reason: ExpiryReason) -> None:
        """Delete the session of *record*, unless another process has saved it, or created it anew, meanwhile."""
        async with self._writer.deletion([key]):
            (deleted,) = await self._store.delete([key], [record.revision], [record.start_time])
        if deleted:
            self._note_expired(key, record.pool, reason)

    def _close_all(self, keys: Sequence[Key]) -> None:
        for key in keys:
            live = self._live_of(key)
            if live is not None:
                self.close(live)

    def _live_of(self, key: Key) -> SessionRuntime | None:
        live = self._live.get(key.session_id)
        return live if live is not None and live.namespace == key.namespace else None

    def _in_use(self, key: Key) -> bool:
        live = self._live_of(key)
        return live is not None and (bool(live.in_flight) or live.expired(self._clock()) is None)

    def _note_deleted(self, key: Key, pool: str | None) -> None:
        self._count("deleted", 1)
        self._analytics.record_event_for("deleted", *key, pool)

    def _note_expired(
        self, key: Key, pool: str | None, reason: ExpiryReason, live: SessionRuntime | None = None
    ) -> None:
        self._count("expired", 1)
        self._count(f"expired/{reason}", 1)
        self._analytics.record_event_for("expired", *key, pool, reason)
        self._expired(key.session_id, live, reason)
