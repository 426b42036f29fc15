"""The claims and leases of the store in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scrapy_sessions.storage.abilities import Claim, Claims, Lease
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.claiming import REMEMBERED, next_token


@dataclass(slots=True)
class _Member:
    """A session of a pool; of none, if it has left it. ``token`` is the last that was given for it, or made it dead."""

    pool: str | None
    token: int = 0
    holder: str = ""
    expires_at: float = 0.0  # of the claim; of a session that has left its pool: when it is forgotten


@dataclass(slots=True)
class _Process:
    """A process that uses a pool. ``place`` orders the line; 0: it isn't in the line."""

    expires_at: float
    place: int = 0


class MemoryLeases:
    """The leases and claims of a :class:`~scrapy_sessions.storage.MemoryStore`. Each call is atomic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_token = 0
        self._leases: dict[tuple[str, str], Lease] = {}
        self._members: dict[Key, _Member] = {}
        self._processes: dict[tuple[str, str], dict[str, _Process]] = {}

    def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        now = self._clock()
        self._leases = {key: each for key, each in self._leases.items() if each.expires_at > now - REMEMBERED}
        last = self._leases.get((namespace, name))
        if last is not None and last.expires_at > now:
            return None
        lease = self._leases[namespace, name] = Lease(namespace, name, self._next_token(), now + ttl)
        return lease

    def renew(self, lease: Lease, ttl: float) -> Lease | None:
        if not self._is_last(lease):
            return None
        renewed = self._leases[lease[:2]] = lease._replace(expires_at=self._clock() + ttl)
        return renewed

    def release(self, lease: Lease) -> bool:
        return self._is_last(lease) and bool(self._leases.pop(lease[:2]))

    def is_fenced(self, key: Key, token: int | None) -> bool:
        member = self._members.get(key)
        return token is not None and member is not None and member.token > token

    def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        now = self._clock()
        self._members = {
            key: each for key, each in self._members.items() if each.pool is not None or each.expires_at > now
        }
        if not self._live(namespace, pool, now):
            for session_id in self._enrolled(namespace, pool).keys() - set(session_ids):
                self._remove(Key(namespace, session_id))
        self._live(namespace, pool, now).setdefault(holder, _Process(0.0)).expires_at = now + ttl
        for session_id in session_ids:
            member = self._members.setdefault(Key(namespace, session_id), _Member(pool))
            if member.pool is None:
                member.expires_at = 0.0
            member.pool = pool
        return sorted(self._enrolled(namespace, pool))

    def claim(self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float) -> Claims:
        now = self._clock()
        for claim in held:
            self._renew(namespace, pool, holder, claim)
        enrolled = self._enrolled(namespace, pool)
        order = {claim.session_id: number for number, claim in enumerate(held)}
        mine = sorted(
            (session_id for session_id, member in enrolled.items() if member.holder == holder),
            key=lambda session_id: order.get(session_id, len(order)),
        )
        processes = self._live(namespace, pool, now)
        if not mine and want <= 0:
            processes.pop(holder, None)
            return Claims([], len(enrolled) // max(len(processes), 1), len(_line(processes)), 0)
        me = processes.setdefault(holder, _Process(0.0))
        me.expires_at = now + ttl
        share = len(enrolled) // len(processes)
        due = min(want, max(share, 1))
        others = [each for each in _line(processes) if each is not me]
        free = sorted((m.token, s) for s, m in enrolled.items() if m.holder != holder and m.expires_at <= now)
        ahead = [each for each in others if len(mine) < due and (not me.place or each.place < me.place)]
        taken = free[len(ahead) :][: max((due if others else want) - len(mine), 0)]
        for _, session_id in taken:
            enrolled[session_id].token, enrolled[session_id].holder = self._next_token(), holder
            mine.append(session_id)
        if len(mine) >= due:
            me.place = 0
        elif taken or not me.place:
            me.place = self._next_token()
        for session_id in mine:
            enrolled[session_id].expires_at = now + ttl
        line = _line(processes)
        return Claims(
            [Claim(session_id, enrolled[session_id].token, now + ttl) for session_id in mine],
            share,
            len(others),
            line.index(me) + 1 if me.place else 0,
        )

    def may_claim(self, namespace: str, pool: str, holder: str) -> bool:
        """Whether a free session is for *holder*, or it isn't in the line."""
        now = self._clock()
        processes = self._live(namespace, pool, now)
        me = processes.get(holder)
        if me is None or not me.place:
            return True
        free = [each for each in self._enrolled(namespace, pool).values() if each.expires_at <= now]
        return len(free) > _line(processes).index(me)

    def give_back(self, namespace: str, held: Sequence[Claim], retire: bool) -> list[bool]:
        done = []
        for claim in held:
            member = self._members.get(Key(namespace, claim.session_id))
            done.append(member is not None and member.pool is not None and member.token == claim.token)
            if member is not None and done[-1]:
                member.token, member.holder, member.expires_at = self._next_token(), "", 0.0
                if retire:
                    self._remove(Key(namespace, claim.session_id))
        return done

    def _is_last(self, lease: Lease) -> bool:
        last = self._leases.get(lease[:2])
        return last is not None and last.token == lease.token

    def _next_token(self) -> int:
        self._last_token = next_token(self._last_token, self._clock())
        return self._last_token

    def _enrolled(self, namespace: str, pool: str) -> dict[str, _Member]:
        return {
            key.session_id: member
            for key, member in self._members.items()
            if key.namespace == namespace and member.pool == pool
        }

    def _live(self, namespace: str, pool: str, now: float) -> dict[str, _Process]:
        found = self._processes.get((namespace, pool), {})
        live = self._processes[namespace, pool] = {
            holder: each for holder, each in found.items() if each.expires_at > now
        }
        return live

    def _renew(self, namespace: str, pool: str, holder: str, claim: Claim) -> None:
        member = self._members.setdefault(Key(namespace, claim.session_id), _Member(pool))
        if member.token < claim.token:  # the store had lost it
            member.pool, member.token, member.holder = pool, claim.token, holder

    def _remove(self, key: Key) -> None:
        member = self._members[key]
        if not member.token:  # it was never claimed
            del self._members[key]
            return
        member.pool, member.holder, member.token = None, "", self._next_token()
        member.expires_at = self._clock() + REMEMBERED


def _line(processes: dict[str, _Process]) -> list[_Process]:
    return sorted((each for each in processes.values() if each.place), key=lambda each: each.place)
