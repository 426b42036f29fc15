"""The sides of the comparisons by chain: each a worker with its own settings, and rounds in which they take turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environments import COOKIES_FIXED, SCRAPY_SESSIONS, Peer, PeerUnavailable, python_of
from benchmarks.figures import Size
from benchmarks.processes import Worker

__all__ = [
    "ACTIONS",
    "COOKIES",
    "OFF",
    "OURS",
    "OURS_WITH_META",
    "PEERS",
    "SAVER",
    "SCRAPY",
    "Job",
    "Side",
    "Times",
    "available",
    "run",
    "session_settings",
]

COOKIES = 10
ACTIONS = 50
SAVER = "scrapy_sessions.extension.SessionsExtension"

_STOCK = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"

Times = dict[tuple[str, int], list[float]]
"""Microseconds per request, one a turn, by the name of a side and how many responses come for one ``Set-Cookie``."""


class Side(NamedTuple):
    """Who is measured.

    ``{folder}`` in a setting stands for a folder that is new in each set.

    :param peer: whose environment it is; ``None``: ours
    :param bears: how many cookies of so many its requests have to bear; ``None``: at least one
    :param share: one in so many of the requests of the others: for those who take long
    """

    settings: Mapping[str, Any]
    key: str = "cookiejar"
    saver: str | None = None
    peer: Peer | None = None
    cookies: int = COOKIES
    bears: int | None = COOKIES
    share: int = 1

    def python(self) -> Path | None:
        """Return the Python to run it by, ``None`` for ours. Raises :exc:`PeerUnavailable`."""
        return python_of(self.peer) if self.peer is not None else None

    def fault(self) -> str | None:
        """Return why it can't be measured here, ``None`` if it can."""
        try:
            self.python()
        except PeerUnavailable as error:
            return str(error)
        return None

    def open(
        self, worker: Worker, folder: str, *, sessions: int, whole_page: bool = False, hosts: int | None = None
    ) -> None:
        """Let *worker* open the chain."""
        bears = worker.ask(
            "open",
            settings={name: _placed(value, folder) for name, value in self.settings.items()},
            key=self.key,
            sessions=sessions,
            cookies=self.cookies,
            saver=self.saver,
            whole_page=whole_page,
            hosts=hosts,
        )
        if bears != self.bears and (self.bears is not None or not bears):
            raise AssertionError(f"A request bears {bears} cookies: this side doesn't do its job")


def session_settings(store: str = "sqlite:///{folder}/sessions.db") -> dict[str, Any]:
    """Return the settings of a crawl with sessions, saved when the measure says so.

    By the timer, a save could fall into the time of another side.
    """
    return {
        "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
        "SESSIONS_STORE": store,
        "SESSIONS_SAVE_INTERVAL": 3600,
        "SESSIONS_HISTORY_LIMIT": ACTIONS,
    }


def _instead(middleware: str, **settings: Any) -> dict[str, Any]:
    return {"DOWNLOADER_MIDDLEWARES": {_STOCK: None, middleware: 700}, **settings}


OFF = Side({"COOKIES_ENABLED": False}, bears=0)
SCRAPY = Side({})
OURS = Side(session_settings(), key="session_id", saver=SAVER)
OURS_WITH_META = OURS._replace(
    settings={
        **OURS.settings,
        "SESSIONS_PROFILES": {"one": {"meta": {"impersonate": "chrome", "impersonate_args": {"verify": False}}}},
    }
)
PEERS = {
    "scrapy-sessions 0.9, which saves nothing": Side(
        _instead("scrapy_sessions.CookiesMiddleware"), key="session_id", peer=SCRAPY_SESSIONS
    ),
    "scrapy-cookies-fixed, SQLite file": Side(
        _instead(
            "scrapy_cookies.downloadermiddlewares.cookies.CookiesMiddleware",
            COOKIES_STORAGE="scrapy_cookies.storage.sqlite.SQLiteStorage",
            COOKIES_SQLITE_DATABASE="{folder}/cookies.db",
        ),
        peer=COOKIES_FIXED,
        share=10,  # each of its requests waits for the disk several times
    ),
    "scrapy-cookies-fixed, SQLite in memory": Side(
        _instead(
            "scrapy_cookies.downloadermiddlewares.cookies.CookiesMiddleware",
            COOKIES_STORAGE="scrapy_cookies.storage.sqlite.SQLiteStorage",
            COOKIES_SQLITE_DATABASE=":memory:",
        ),
        peer=COOKIES_FIXED,
        share=4,
    ),
}


class Job(NamedTuple):
    """What the sides do.

    :param every: ``Set-Cookie`` on one of so many responses; measured once for each of them
    :param sessions: that the requests go out in; ``None``: as many as the size of the run says
    :param whole_page: whether spider middlewares and the fingerprinter are part of it
    :param hosts: whose cookies each session has, and which it asks over http; ``None``: one, over https
    """

    every: Sequence[int] = (10,)
    sessions: int | None = None
    whole_page: bool = False
    hosts: int | None = None


def run(sides: Mapping[str, Side], size: Size, *jobs: Job) -> list[Times]:
    """Let *sides* do *jobs*, in turns, and return their times by job."""
    found: list[Times] = [{(name, each): [] for name in sides for each in job.every} for job in jobs]
    for _ in range(size.sets):
        with _started(sides) as workers:
            for job, took in zip(jobs, found, strict=True):
                _measure(sides, workers, size, job, took)
    return found


def _measure(sides: Mapping[str, Side], workers: Mapping[str, Worker], size: Size, job: Job, took: Times) -> None:
    sessions = size.sessions if job.sessions is None else job.sessions
    with ExitStack() as stack:
        for name, worker in workers.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            sides[name].open(worker, folder, sessions=sessions, whole_page=job.whole_page, hosts=job.hosts)
            # Until every history is as long as it gets: a save then costs what it costs for good.
            n = min(ACTIONS, size.requests) * sessions // sides[name].share
            worker.ask("round", n=max(n, 1), every=job.every[0])
        order = list(workers)
        for _ in range(size.rounds * size.turns):
            for every in job.every:
                for name in order:
                    n = max(min(size.requests, size.turn) // sides[name].share, 1)
                    took[name, every].append(workers[name].ask("round", n=n, every=every))
            order.append(order.pop(0))  # each is the first once
        for worker in workers.values():
            worker.ask("close")


@contextmanager
def _started(sides: Mapping[str, Side]) -> Iterator[dict[str, Worker]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker("chain.py", python=side.python())) for name, side in sides.items()}


def available(sides: Mapping[str, Side]) -> tuple[dict[str, Side], dict[str, str]]:
    """Return those of *sides* that can be measured here, and why the others can't."""
    found: dict[str, Side] = {}
    faults: dict[str, str] = {}
    for name, side in sides.items():
        fault = side.fault()
        if fault is None:
            found[name] = side
        else:
            faults[name] = fault
    return found, faults


def _placed(value: Any, folder: str) -> Any:
    return value.replace("{folder}", folder) if isinstance(value, str) else value
