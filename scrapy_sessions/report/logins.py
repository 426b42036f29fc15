"""The section on logins: the averages that the counters know, and the single ones that events tell of."""

from __future__ import annotations

from scrapy_sessions.report.charts import Bar, Point, bars, legend
from scrapy_sessions.report.data import Login, Report
from scrapy_sessions.report.format import count, duration, moment
from scrapy_sessions.report.markup import Html, details, hint, join, note
from scrapy_sessions.report.redact import shortened
from scrapy_sessions.report.tables import NO_POOL, Cell, number, plain_table, text, time_of

__all__ = ["logins"]

_LISTED = 20
_NAME = 40  # characters


def logins(report: Report) -> Html:
    """How long logins take."""
    known = [bucket for bucket in report.buckets if bucket.login_time is not None]
    if not known and not report.logins:
        return note("No login was timed in this time.")
    series = [
        Bar(
            bucket.start,
            [(bucket.login_time or 0.0, "login")],
            f"{moment(bucket.start)} UTC: {count(bucket.logins)} logins, {count(bucket.login_failures)} failed"
            + (f", {duration(bucket.login_time)} on average" if bucket.login_time is not None else ""),
        )
        for bucket in report.buckets
    ]
    points = [
        Point(login.time, login.seconds, "p one", f"{_what(login)}, {moment(login.time)} UTC")
        for login in reversed(report.logins)  # the slowest last: it is drawn over the others
    ]
    entries = [("login", "seconds per login, on average")] if known else []
    if points:
        entries.append(("p one", "one login"))
    return join(
        legend(*entries),
        bars("Duration of logins over time", series, width=report.bucket_seconds, points=points, seconds=True),
        hint(_averages(report)) if known else None,
        hint(_single(report)),
        details("The slowest logins", _slowest_logins(report)) if points else None,
        _slowest_sessions(report),
    )


def _averages(report: Report) -> str:
    total = sum(bucket.timed_logins for bucket in report.buckets)
    mean = sum(bucket.login_seconds for bucket in report.buckets) / total
    width = duration(report.bucket_seconds)
    return f"{count(total)} logins, {duration(mean)} on average. One bar is {width}, from the counters by hour."


def _single(report: Report) -> str:
    if not report.logins:
        return "How long single logins took is not known: no event tells it."
    slowest = report.logins[0]
    shown, left_out = len(report.logins), report.logins_left_out
    which = f"the slowest {count(shown)} of {count(shown + left_out)} are drawn" if left_out else "all are drawn"
    return f"A point is one login, from the events: {which}. The slowest: {_what(slowest)}, {moment(slowest.time)} UTC."


def _slowest_logins(report: Report) -> Html:
    rows = [
        [
            text(login.key.session_id),
            number(login.seconds, _took(login)),
            Cell(time_of(login.time), login.time),
            text(login.pool if login.pool is not None else NO_POOL),
        ]
        for login in report.logins[:_LISTED]
    ]
    return plain_table("Logins by the time they took", ["Session", "Login time", "Time (UTC)", "Pool"], rows)


def _slowest_sessions(report: Report) -> Html | None:
    timed = [(session.login_time, session) for session in report.sessions if session.login_time is not None]
    rows = [
        [
            text(session.key.session_id),
            number(login_time, duration(login_time)),
            number(session.timed_logins),
            number(session.login_failures),
        ]
        for login_time, session in sorted(timed, key=lambda entry: -entry[0])[:10]
    ]
    columns = ["Session", "Average login", "Logins", "Failed logins"]
    return details("The slowest sessions", plain_table("Sessions by login time", columns, rows)) if rows else None


def _what(login: Login) -> str:
    return f"{shortened(login.key.session_id, _NAME)}, {_took(login)}"


def _took(login: Login) -> str:
    return duration(login.seconds) if login.seconds else "<0.1 s"  # an event knows tenths
