"""What ``scrapy sessions doctor`` reports about a server: nothing else needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from scrapy_sessions.storage.redis.layout import prefix
from scrapy_sessions.storage.redis.listing import namespaces
from scrapy_sessions.storage.redis.server import Server

_READ = 1000  # claims in one part


class Holder(NamedTuple):
    """A lease, or the claims of one process in a pool.

    :param what: the name of the lease, or of the pool
    :param who: the process
    :param sessions: how many sessions it holds; 0 for a lease
    :param seconds: how long it is still held; below 0, nobody has taken it since
    """

    namespace: str
    what: str
    who: str
    sessions: int
    seconds: float


class Inspection(NamedTuple):
    """The state of a store.

    :param servers: the ``INFO`` of each server; empty if this user may not ask
    :param clock: by how many seconds the clock of the server is ahead of this one
    """

    servers: list[dict[str, Any]]
    clock: float
    holders: list[Holder]


async def inspect(server: Server, clock: Callable[[], float]) -> Inspection:
    """Return the state of *server*, which is left as it is."""
    infos = await server.infos("server", "memory", "persistence", "clients")
    before = clock()
    seconds, micros = await server.command("TIME")
    ahead = int(seconds) + int(micros) / 1e6 - (before + clock()) / 2
    now = clock() + ahead
    holders = []
    for namespace in await namespaces(server):
        holders += await _leases(server, namespace, now)
        holders += await _claims(server, namespace, now)
    return Inspection(infos, ahead, holders)


async def _leases(server: Server, namespace: str, now: float) -> list[Holder]:
    start = prefix(namespace)
    found = await server.command("ZRANGEBYSCORE", f"{start}leases", repr(now), "+inf")
    holders = []
    for name in found:
        ends, entry = (
            await server.command("ZSCORE", f"{start}leases", name),
            await server.command("HGET", f"{start}leased", name),
        )
        if ends is not None and entry is not None:
            _, _, who = entry.partition(b"\n")
            holders.append(Holder(namespace, _text(name), _text(who).rpartition(" ")[0], 0, float(ends) - now))
    return holders


async def _claims(server: Server, namespace: str, now: float) -> list[Holder]:
    start = prefix(namespace)
    counts: dict[tuple[str, str], int] = {}
    cursor = -1
    while cursor:
        cursor, part = await server.call(
            lambda: server.client.hscan(f"{start}claims", max(cursor, 0), count=_READ)  # noqa: B023
        )
        for entry in part.values():
            _, who, pool = [*entry.split(b"\n", 2), b"", b""][:3]
            if who:
                place = _text(pool), _text(who)
                counts[place] = counts.get(place, 0) + 1
    holders = []
    for (pool, who), number in sorted(counts.items()):
        until = await server.command("HGET", f"{start}claims", f"u\n{who}\n{pool}")  # in microseconds
        holders.append(Holder(namespace, pool, who, number, int(until) / 1e6 - now if until else 0.0))
    return holders


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
