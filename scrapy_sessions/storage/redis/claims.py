"""Leases, and the claims of exclusive pools: one script for each call, and a bell for those who wait."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence

from scrapy_sessions.storage.abilities import Claim, Claims, Lease
from scrapy_sessions.storage.redis.layout import prefix
from scrapy_sessions.storage.redis.server import Server

_LOOK = 0.05  # seconds, with a clock that isn't the server's


class RedisClaims:
    """The leases and claims on a server.

    :param server: returns it, if the store is open
    :param clock: ``None``: that of the server
    """

    def __init__(self, server: Callable[[], Server], clock: Callable[[], float] | None) -> None:
        self._server = server
        self._clock = clock
        self._waits: set[asyncio.Future[object]] = set()
        self._ended = False

    async def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        who = f"{socket.gethostname()}, process {os.getpid()} {os.urandom(8).hex()}"  # see inspection.py
        found = await self._server().run("lease", namespace, self._now(), name, ttl, who)
        return None if found is None else Lease(namespace, name, int(found[0]), float(found[1]))

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        ends = await self._server().run("renew", lease.namespace, self._now(), lease.name, lease.token, ttl)
        return None if ends is None else lease._replace(expires_at=float(ends))

    async def release(self, lease: Lease) -> bool:
        ends = await self._server().run("renew", lease.namespace, self._now(), lease.name, lease.token, "")
        return ends is not None

    async def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        ids = await self._server().run("enrol", namespace, self._micros(), pool, holder, _micros(ttl), *session_ids)
        return sorted(session_id.decode() for session_id in ids)

    async def claim(
        self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float
    ) -> Claims:
        pairs = [text for claim in held for text in (claim.session_id, str(claim.token))]
        answer = await self._server().run("claim", namespace, self._micros(), pool, holder, want, _micros(ttl), *pairs)
        share, waiting, place, now, *found = answer.decode().split("\n")
        claims = [
            Claim(session_id, int(token), int(now) / 1_000_000 + ttl)
            for session_id, token in zip(found[::2], found[1::2], strict=True)
        ]
        return Claims(claims, int(share), int(waiting), int(place))

    async def wait(self, namespace: str, pool: str, holder: str, timeout: float) -> None:
        server = self._server()
        bell = f"{prefix(namespace)}bell:{len(holder.encode())}:{holder}{pool}"
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            reply = await server.run("look", namespace, self._micros(), pool, holder)
            delay = float(reply) if reply else left
            if delay <= 0:
                return
            # A clock that was passed in doesn't pass by itself.
            delay = min(delay, left, server.longest_wait) if self._clock is None else min(left, _LOOK)
            if self._ended:
                return
            ringing = asyncio.ensure_future(server.block("BLPOP", bell, delay))
            self._waits.add(ringing)
            try:
                await asyncio.wait([ringing])
            finally:
                self._waits.discard(ringing)
                ringing.cancel()
            if ringing.cancelled() or ringing.result() is not None:
                return

    async def give_back(self, namespace: str, pool: str, held: Sequence[Claim], *, retire: bool) -> list[bool]:
        pairs = [text for claim in held for text in (claim.session_id, str(claim.token))]
        done = await self._server().run("give_back", namespace, self._micros(), pool, "", "1" if retire else "", *pairs)
        return [each == ord("1") for each in done]

    def begin(self) -> None:
        """Let processes wait again."""
        self._ended = False

    def end_waits(self) -> None:
        """Let all that wait return, now and from now on."""
        self._ended = True
        for ringing in self._waits:
            ringing.cancel()

    def _now(self) -> str:
        return "" if self._clock is None else repr(self._clock())

    def _micros(self) -> int | str:
        return "" if self._clock is None else _micros(self._clock())


def _micros(seconds: float) -> int:
    """Return *seconds* in whole microseconds, in which the scripts of the pools count."""
    return round(seconds * 1_000_000)
