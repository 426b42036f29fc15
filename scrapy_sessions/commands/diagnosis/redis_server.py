"""The checks of a store on a Redis or Valkey server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy_sessions.commands.diagnosis.findings import Finding, ok, warning
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.storage import RedisStore
from scrapy_sessions.storage.redis.inspection import Holder

_LEEWAY = 2.0  # seconds
_FULL = 0.9  # of maxmemory
_NAMED = 10  # holders that are named
_MEGABYTE = 1e6


async def examine_server(store: RedisStore) -> AsyncIterator[Finding]:
    """Check the server of *store*, which is open."""
    found = await store.inspect(time.time)
    if not found.servers:
        yield warning(
            "server",
            "The user may not ask the server for its version, memory and settings",
            "Allow it the command info",
        )
    for info in found.servers:
        for finding in _server(info):
            yield finding
    if abs(found.clock) > _LEEWAY:
        yield warning(
            "server clock",
            f"The clock of the server is {abs(found.clock):.1f} s {'ahead of' if found.clock > 0 else 'behind'} this",
            "Set the clocks of all machines by NTP: claims and leases expire by the clock of the server, sessions by "
            "that of the machine that looks at them",
        )
    else:
        yield ok("server clock", f"The clock of the server differs from this one by {abs(found.clock):.1f} s")
    yield _leases([holder for holder in found.holders if not holder.sessions])
    for holder in [holder for holder in found.holders if holder.sessions][:_NAMED]:
        yield ok(
            "claims",
            f"{holder.who} holds {count(holder.sessions, 'session')} of pool {holder.what!r} in namespace "
            f"{holder.namespace!r}{_remaining(holder)}",
        )


def _server(info: dict[str, Any]) -> Iterator[Finding]:
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version', '?')}"
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    limit = f" of {most / _MEGABYTE:,.1f}" if most else ""
    memory = (
        f"{used / _MEGABYTE:,.1f}{limit} MB of memory used, {count(int(info.get('connected_clients', 0)), 'client')}"
    )
    yield ok("server", f"{name}: {memory}, maxmemory-policy {info.get('maxmemory_policy', '?')}")
    if most and used > _FULL * most:
        yield warning(
            "memory",
            f"The server uses {used / most:.0%} of its maxmemory: when it is full, it saves nothing",
            "Raise maxmemory, delete sessions that aren't needed, or use another server",
        )
    if str(info.get("aof_enabled", "1")) == "0":
        yield warning(
            "persistence",
            "The server has no append-only file: when it crashes, it loses what was saved since its last snapshot",
            "Set appendonly to yes. Crawls that run then save their sessions again in any case",
        )
    if str(info.get("rdb_last_bgsave_status", "ok")) != "ok" or str(info.get("aof_last_write_status", "ok")) != "ok":
        yield warning("persistence", "The server could not write to its disk", "Look into the log of the server")


def _leases(holders: list[Holder]) -> Finding:
    if not holders:
        return ok("leases", "Nobody holds a lease")
    named = "; ".join(
        f"{holder.what!r} in namespace {holder.namespace!r} by {holder.who}{_remaining(holder)}"
        for holder in holders[:_NAMED]
    )
    return ok("leases", f"{count(len(holders), 'lease')}: {named}")


def _remaining(holder: Holder) -> str:
    return f", for {holder.seconds:.0f} s" if holder.seconds > 0 else ", past its time"
