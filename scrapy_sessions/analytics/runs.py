"""The runs of spiders, as events: one when the first session is used, one at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.safe_repr import safe_repr

# Compiled by `re` at first use: not at the start of each crawl.
_STARTED = r"([0-9a-f]{8}) (.+)"
_FINISHED = r"([0-9a-f]{8}) (.+): ([0-9]+) pages, ([0-9]+) requests in ([0-9]+) s; (.+)"


class Run(NamedTuple):
    """A run of *spider* from *started* to *finished* (UNIX seconds).

    :param run_id: eight hexadecimal digits
    :param finished: ``None``: no end was recorded, as the run continues or was killed
    :param reason: Scrapy's finish reason, such as ``"finished"`` or ``"shutdown"``
    """

    run_id: str
    namespace: str
    spider: str
    started: float
    finished: float | None = None
    reason: str = ""
    pages: int = 0
    requests: int = 0

    def __repr__(self) -> str:
        return safe_repr(self, "namespace", "reason")

    @property
    def detail(self) -> str:
        """The detail of its event: ``run_started``, or ``run_finished`` if it is finished."""
        name = f"{self.run_id} {self.spider}"
        if self.finished is None:
            return name
        seconds = self.finished - self.started
        return f"{name}: {self.pages} pages, {self.requests} requests in {seconds:.0f} s; {self.reason}"


def runs_of(events: Iterable[Event]) -> list[Run]:
    """Return the runs that *events*, in any order, describe: the latest start first."""
    runs: dict[tuple[str, str], Run] = {}
    for event in events:
        name, time = event.namespace, event.time
        if event.kind == "run_finished" and (found := re.fullmatch(_FINISHED, event.detail)):
            run_id, spider, pages, requests, seconds, reason = found.groups()
            run = Run(run_id, name, spider, time - int(seconds), time, reason, int(pages), int(requests))
            runs[name, run_id] = run
        elif event.kind == "run_started" and (found := re.fullmatch(_STARTED, event.detail)):
            runs.setdefault((name, found[1]), Run(found[1], name, found[2], time))
    return sorted(runs.values(), key=lambda run: run.started, reverse=True)
