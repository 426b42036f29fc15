"""Memory: of a crawl over many sessions against one over a hundredth of them, and of a session that is in memory."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from benchmarks.chains import ACTIONS, COOKIES, SAVER, session_settings
from benchmarks.figures import Figure, Row, Size, compare
from benchmarks.processes import Worker

__all__ = ["measure"]

_CACHE = 1000
_ROUNDS = 2  # each takes a minute, and the most of a crawl hardly differs from run to run
_LIVE = 8.0  # kB


def measure(size: Size) -> list[Row]:
    """Let crawls over both numbers of sessions take turns, each in a process of its own."""
    few = max(size.crawled // 100, 1)
    most: dict[int, list[float]] = {size.crawled: [], few: []}
    for number in range(min(size.rounds, _ROUNDS)):
        for sessions, found in most.items():
            print(f"  a crawl over {sessions} sessions ({number + 1}) …", file=sys.stderr, flush=True)
            found.append(_ask("crawl", {"SESSIONS_CACHE_SIZE": _CACHE}, sessions=sessions))
    # Once: what is allocated is the same in every run.
    bare, full = (_ask("live", {}, sessions=size.live, actions=actions) / 1000 for actions in (0, ACTIONS))
    return [
        compare(
            f"peak memory of a crawl over {size.crawled} sessions, SESSIONS_CACHE_SIZE {_CACHE}",
            most[size.crawled],
            most[few],
            "MB",
            f"a crawl over {few} sessions",
            bound=1.2,
        ),
        Figure(
            f"a live session of {COOKIES} cookies, beside its history",
            bare,
            full,
            "kB",
            f"the same with a history of {ACTIONS} actions",
            bound=_LIVE,
            absolute=True,
        ),
    ]


def _ask(command: str, settings: dict[str, Any], **arguments: Any) -> float:
    with tempfile.TemporaryDirectory() as folder, Worker("memory.py") as worker:
        return worker.ask(
            command,
            settings={**session_settings(f"sqlite:///{folder}/sessions.db"), **settings},
            key="session_id",
            saver=SAVER,
            cookies=COOKIES,
            **arguments,
        )
