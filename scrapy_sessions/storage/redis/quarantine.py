"""The quarantine: rows that can't be read, kept under a key of their own and never read as sessions again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.redis.layout import MAX_BODY, Malformed, packed, prefix, unpacked
from scrapy_sessions.storage.redis.listing import namespaces
from scrapy_sessions.storage.redis.server import Server


class Entry(NamedTuple):
    """An entry of the quarantine. ``moment`` is UNIX seconds; ``number`` counts those of its namespace."""

    moment: float
    number: int
    key: Key
    reason: str


async def set_aside(server: Server, key: Key, revision: int | None, reason: str, now: float) -> bool:
    """Move the session *key* to the quarantine, if it has *revision*; ``None``: whatever is there."""
    wanted = "" if revision is None else str(revision)
    reason = " ".join(reason.split())  # a line of its own in the entry
    session_id = key.session_id.encode("utf-8", "surrogateescape")
    moved = await server.run_once("set_aside", key.namespace, session_id, wanted, now, reason)
    return bool(moved == b"1")


async def entries(server: Server) -> list[Entry]:
    """Return what is in the quarantine, the oldest first."""
    return sorted([entry async for entry in _entries(server)])


async def encrypt_all(server: Server, encrypt: Callable[[bytes], bytes]) -> None:
    """Replace the body of each entry by what *encrypt* makes of it. What was no session has none."""
    async for entry in _entries(server):
        while not await _encrypt(server, entry, encrypt):
            pass


async def _encrypt(server: Server, entry: Entry, encrypt: Callable[[bytes], bytes]) -> bool:
    """Replace the body of *entry*. Returns False if another process has changed or deleted it meanwhile."""
    key = f"{prefix(entry.key.namespace)}q:{entry.number}"
    if await server.command("TYPE", key) != b"hash" or await server.command("HSTRLEN", key, "b") > MAX_BODY:
        return True
    stored = await server.command("HGET", key, "b")
    if stored is None:
        return True
    try:
        body = unpacked(stored)
    except Malformed:
        body = stored
    changed = encrypt(body)
    if changed == body:
        return True
    replaced = await server.run("encrypt", entry.key.namespace, entry.number, stored, packed(changed))
    return bool(replaced == 1)


async def _entries(server: Server) -> AsyncIterator[Entry]:
    for namespace in await namespaces(server):
        found = await server.command("HGETALL", prefix(namespace) + "quarantine")
        fields = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        for number, value in fields:
            moment, reason, session_id = value.decode("utf-8", "replace").split("\n", 2)
            yield Entry(float(moment), int(number), Key(namespace, session_id), reason)
