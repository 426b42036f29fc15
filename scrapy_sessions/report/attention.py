"""The first section: what needs somebody's attention, with what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.report.data import Pool, Problem, Report
from scrapy_sessions.report.format import count, percent, plural
from scrapy_sessions.report.parts import Alert, Note, Part
from scrapy_sessions.report.redact import reason, shortened

_SHOWN = 8  # entries of one alert
_FEWEST_BANS = 3
_IMPROBABLE = 0.01
_SILENT = 3600.0  # seconds without activity after which a run without an end is taken for killed


def attention(report: Report) -> list[Part]:
    """Return the alerts, those that stop a crawl first."""
    failing = [problem for problem in report.failing if not problem.given_up]
    given_up = [problem for problem in report.failing if problem.given_up]
    rising = [pool for pool in report.pools if is_rising(pool)]
    alerts = [
        _alert("Runs that ended badly", [(_run(report, run), *_end(run)) for run in latest_bad_runs(report)]),
        _alert(
            "Logins given up",
            [(_session(report, problem), _failure(problem), problem.time) for problem in given_up],
            "Log one in by hand with: scrapy sessions login ID",
        ),
        _alert(
            "Logins that fail",
            [(_session(report, problem), _failure(problem), problem.time) for problem in failing],
            others=report.failing_left_out,
        ),
        _alert(
            "Retired accounts",
            [
                (_session(report, problem), problem.words or "no reason given", problem.time)
                for problem in report.retired
            ],
            "Use one again with: scrapy sessions unretire ID",
            others=report.retired_left_out,
        ),
        _alert("Pools with rising bans", [(_pool(report, pool), _rise(pool), None) for pool in rising]),
        _alert(
            "Closed pages",
            [
                (page.url, f"{_statuses(page.statuses)}, in {plural(len(page.sessions), 'session')}", page.last)
                for page in report.closed
            ],
            "Refused in sessions that still got other pages. Sessions are not to blame: is the page open to them?",
            others=report.closed_left_out,
        ),
    ]
    found: list[Part] = [alert for alert in alerts if alert.entries]
    if found:
        return found
    checked = "no login fails, no account is retired"
    if report.analytics:
        checked += ", no pool has rising bans, no page is closed, and no run ended badly"
    return [Note(f"Nothing needs attention: {checked}.")]


def is_rising(pool: Pool) -> bool:
    """Whether the bans of *pool* in the last day are more than chance explains by those of the week before.

    With too little data, and without a week before, nothing is said.
    """
    (recent, now), (earlier, before) = pool.recent, pool.earlier
    if recent < _FEWEST_BANS or not before or not now:
        return False
    # If bans hit responses by chance, each falls into the last day with this probability.
    share, total = now / (now + before), recent + earlier
    if total > 1000:  # the binomial distribution is nearly normal
        expected = total * share
        return recent > expected + 2.33 * math.sqrt(expected * (1 - share))
    return (
        sum(math.comb(total, n) * share**n * (1 - share) ** (total - n) for n in range(recent, total + 1)) < _IMPROBABLE
    )


def latest_bad_runs(report: Report) -> list[Run]:
    """Return the latest run of each spider if sessions ended it, or if it was killed."""
    latest: dict[tuple[str, str], Run] = {}
    for run in report.runs:  # latest first
        latest.setdefault((run.namespace, run.spider), run)
    return [run for run in latest.values() if run.reason.startswith("session_") or was_killed(report, run)]


def was_killed(report: Report, run: Run) -> bool:
    """Whether *run* has no end, and nothing happens in its namespace any more."""
    last = max(run.started, report.activity.get(run.namespace, 0.0))
    return run.finished is None and report.generated - last > _SILENT


def _end(run: Run) -> tuple[str, float]:
    if run.finished is None:
        return "started, and no end was recorded: it was killed", run.started
    return f"finished with {reason(run.reason)!r} after {plural(run.pages, 'page')}", run.finished


def _alert(title: str, entries: Sequence[tuple[str, str, float | None]], advice: str = "", *, others: int = 0) -> Alert:
    others += len(entries[_SHOWN:])
    total = f" ({count(len(entries[:_SHOWN]) + others)})" if entries else ""
    more = [(f"{count(others)} more", "", None)] if others else []
    return Alert(f"{title}{total}", [*entries[:_SHOWN], *more], advice)


def _failure(problem: Problem) -> str:
    times = f"failed {plural(problem.failures, 'time')} since the last login" if problem.failures else "given up"
    return f"{times}; at last: {problem.words}" if problem.words else times


def _rise(pool: Pool) -> str:
    (recent, now), (earlier, before) = pool.recent, pool.earlier
    return (
        f"{plural(recent, 'ban')} in the last day ({percent(recent, now)} of responses), "
        f"{count(earlier)} in the week before ({percent(earlier, before)})"
    )


def _statuses(statuses: dict[str, int]) -> str:
    return ", ".join(f"status {status}" if status.isdecimal() else status for status in sorted(statuses))


def _session(report: Report, problem: Problem) -> str:
    where = [problem.pool] if problem.pool is not None else []
    name = shortened(problem.key.session_id, 60)
    return _named(report, f"{name} ({where[0]})" if where else name, problem.key.namespace)


def _pool(report: Report, pool: Pool) -> str:
    return _named(report, pool.name if pool.name is not None else "(no pool)", pool.namespace)


def _run(report: Report, run: Run) -> str:
    return _named(report, run.spider, run.namespace)


def _named(report: Report, name: str, namespace: str) -> str:
    """Return *name*, with the namespace if the report has several."""
    return f"{namespace}/{name}" if len(report.activity) > 1 else name
