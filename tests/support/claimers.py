"""Many processes that claim sessions of one pool, save them, give them back, are paused and killed.

They write what they do into a journal. :func:`check` reads it: no session was held twice at a time, and no save under a
dead token took place.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import scrapy_sessions
from scrapy_sessions.storage import Claim, ClaimStore, Key, Outcome, store_from_url
from scrapy_sessions.testing import make_row
from tests.support.waiting import HANG

__all__ = ["check", "claim_all", "race"]

ROOT = Path(scrapy_sessions.__file__).parents[1]
SESSIONS = [f"s{number}" for number in range(100)]
PROCESSES = 16
TTL = 0.6  # seconds
PLACE = ("shop", "staff")

# Imports everything once, and forks a worker whenever it reads a line: starting Python for each would take most of the
# time. A worker is reaped by the next fork.
NURSERY = """
import asyncio, os, signal, sys
from tests.support.claimers import work

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
url, journal = sys.argv[1:]
for line in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
    else:
        os.close(0)
        try:
            asyncio.run(work(url, journal, int(line)))
        finally:
            os._exit(1)
"""


async def work(url: str, journal: str, seed: int) -> None:
    """Claim, save and give back until the process is killed."""
    source = random.Random(seed)
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(file, f"{' '.join(map(str, words))}\n".encode())  # in one piece

    store: Any = store_from_url(url)
    holder = f"{os.getpid()} {seed}"
    try:
        await store.open()
        await store.enrol(*PLACE, holder, SESSIONS, TTL)
        held: list[Claim] = []
        rows: dict[str, tuple[int, int]] = {}  # the token and the revision of each session that is held
        while True:
            answer = await store.claim(*PLACE, holder, held, source.randint(1, 14), TTL)
            held = answer.held
            for claim in held:
                note("held", claim.session_id, claim.token, claim.expires_at)
            rows = await save(store, held, rows, note)
            if not held and answer.place:
                await store.wait(*PLACE, holder, TTL / 3)
                continue
            await asyncio.sleep(source.uniform(0.0, 0.2))
            if source.random() < 0.01:
                time.sleep(TTL * 1.5)  # as a process that the system pauses
            given = held if answer.waiting else source.sample(held, source.randint(0, len(held)))
            rows = await save(store, given, rows, note)
            for claim in given:
                note("given", claim.session_id, claim.token)
            await store.give_back(*PLACE, given)
            held = [claim for claim in held if claim not in given]
    except BaseException as error:
        note("failed", repr(error).replace(" ", "_"))
        raise


async def save(
    store: Any, held: list[Claim], rows: dict[str, tuple[int, int]], note: Any
) -> dict[str, tuple[int, int]]:
    """Save each of *held* once more. Return the token and the revision of each session."""
    unknown = [claim for claim in held if rows.get(claim.session_id, (0, 0))[0] != claim.token]
    found = await store.load_many([Key(PLACE[0], claim.session_id) for claim in unknown])
    for claim, row in zip(unknown, found, strict=True):
        rows[claim.session_id] = claim.token, row.revision if row else 0
    new = [make_row(claim.session_id, rows[claim.session_id][1] + 1, body=str(claim.token).encode()) for claim in held]
    outcomes = await store.save(new, [claim.token for claim in held])
    for claim, row, outcome in zip(held, new, outcomes, strict=True):
        note("saved", claim.session_id, claim.token, row.revision, outcome.value)
        if outcome is Outcome.SAVED:
            rows[claim.session_id] = claim.token, row.revision
        else:
            rows.pop(claim.session_id, None)
    return rows


def race(url: str, journal: Path, claims: int, *, seed: int = 0) -> tuple[int, int]:
    """Let processes use the store at *url* until *claims* have been taken. Returns the kills and the pauses."""
    source = random.Random(seed)
    kills = pauses = 0
    journal.touch()
    workers: list[int] = []
    stopped: dict[int, float] = {}
    taken: set[str] = set()
    last = time.monotonic()
    with nursery(url, journal) as process, journal.open() as lines:
        try:
            while len(taken) < claims:
                while len(workers) < PROCESSES:
                    workers.append(fork(process, source.randrange(2**31)))
                time.sleep(0.05)
                before = len(taken)
                taken.update(line.split()[2] for line in lines if line.startswith("held "))
                last = time.monotonic() if len(taken) > before else last
                assert time.monotonic() < last + HANG, "nothing is claimed any more"
                for worker in [each for each, until in stopped.items() if until < time.monotonic()]:
                    os.kill(worker, signal.SIGCONT)
                    del stopped[worker]
                worker = source.choice(workers)
                if source.random() < 0.3:
                    os.kill(worker, signal.SIGKILL)
                    workers.remove(worker)
                    stopped.pop(worker, None)
                    kills += 1
                elif source.random() < 0.5 and worker not in stopped:
                    os.kill(worker, signal.SIGSTOP)
                    stopped[worker] = time.monotonic() + TTL * source.uniform(0.5, 2.0)
                    pauses += 1
        finally:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
    return kills, pauses


@contextmanager
def nursery(url: str, journal: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, url, str(journal)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(HANG)
        process.stdout.close()


def fork(process: subprocess.Popen[str], seed: int) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seed}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def check(journal: Path) -> dict[str, int]:
    """Check what the processes did, and return how many outcomes of each kind there were."""
    events: dict[str, list[list[str]]] = defaultdict(list)
    for line in journal.read_text().splitlines():
        kind, *words = line.split()
        events[kind].append(words)
    assert not events["failed"], events["failed"][0]
    given = {(session_id, token) for session_id, token in events["given"]}
    times: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for session_id, token, expires_at in events["held"]:
        times[session_id][int(token)].append(float(expires_at))
    for session_id, tokens in times.items():
        ordered = sorted(tokens)
        for token, following in pairwise(ordered):
            first, last = min(tokens[following]) - TTL, max(tokens[token])
            assert first >= last - TTL, f"{session_id} was renewed under a dead token"
            if (session_id, str(token)) not in given:
                assert first >= last - 0.001, f"{session_id} was held twice"
    saves: dict[str, list[tuple[int, int]]] = defaultdict(list)
    outcomes: dict[str, int] = defaultdict(int)
    for session_id, token, revision, outcome in events["saved"]:
        outcomes[outcome] += 1
        if outcome == "saved":
            saves[session_id].append((int(revision), int(token)))
    # A holder reads the row after its claim. If a save under an older token had taken place since, it would conflict.
    assert set(outcomes) <= {"saved", "fenced"}, f"{dict(outcomes)}"
    for session_id, done in saves.items():
        tokens_of_saves = [token for _, token in sorted(done)]
        assert tokens_of_saves == sorted(tokens_of_saves), f"{session_id} was saved under a dead token"
        assert len({revision for revision, _ in done}) == len(done)
    return dict(outcomes)


async def claim_all(url: str) -> list[str]:
    """Return the sessions that a process can claim after all others are gone."""
    store: Any = store_from_url(url)
    await store.open()
    assert isinstance(store, ClaimStore)
    held: list[Claim] = []
    end = time.monotonic() + HANG
    while len(held) < len(SESSIONS) and time.monotonic() < end:
        held = (await store.claim(*PLACE, "the last", held, len(SESSIONS), TTL)).held
        await asyncio.sleep(TTL / 4)
    await store.close()
    return sorted(claim.session_id for claim in held)
