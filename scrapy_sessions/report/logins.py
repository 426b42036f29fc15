"""The section on logins: averages from the counters, single logins from the events."""

from __future__ import annotations

from scrapy_sessions.report.charts import Bar, Point, bars
from scrapy_sessions.report.data import Login, Report
from scrapy_sessions.report.format import count, duration, moment
from scrapy_sessions.report.parts import Hint, Legend, Note, Part, Row, details, number, pool_name, seconds, text, time
from scrapy_sessions.report.redact import shortened

_LISTED = 20


def logins(report: Report) -> list[Part]:
    """The duration of logins."""
    known = [bucket for bucket in report.buckets if bucket.login_time is not None]
    if not known and not report.logins:
        return [Note("The duration of no login is known for this time.")]
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
        Point(login.time, login.seconds, "p one", _titled(login))
        for login in reversed(report.logins)  # the slowest is drawn last, in front of the others
    ]
    entries, hints = [], []
    if known:
        entries.append(("login", "seconds per login, on average"))
        total = sum(bucket.timed_logins for bucket in known)
        mean, width = sum(bucket.login_seconds for bucket in known) / total, duration(report.bucket_seconds)
        average = f"{count(total)} logins, {duration(mean)} on average"
        hints.append(Hint(f"{average}. One bar is {width}, from the counters by hour."))
    if points:
        entries.append(("p one", "a single login"))
    return [
        Legend(entries),
        bars("Duration of logins over time", series, width=report.bucket_seconds, points=points, seconds=True),
        *hints,
        Hint(_single(report)),
        *details("The slowest logins", "Logins by duration", _slowest_logins(report)),
        *details("The slowest sessions", "Sessions by login time", _slowest_sessions(report)),
    ]


def _single(report: Report) -> str:
    if not report.logins:
        return "The duration of single logins is not known: no event contains it."
    shown, left_out = len(report.logins), report.logins_left_out
    which = f"the slowest {count(shown)} of {count(shown + left_out)} are drawn" if left_out else "all are drawn"
    return f"A point is one login, from the events: {which}. The slowest: {_titled(report.logins[0])}."


def _slowest_logins(report: Report) -> list[Row]:
    return [
        {
            "Session": text(login.key.session_id),
            "Login time": number(login.seconds, _duration(login)),
            "Time (UTC)": time(login.time),
            "Pool": pool_name(login.pool),
        }
        for login in report.logins[:_LISTED]
    ]


def _slowest_sessions(report: Report) -> list[Row]:
    timed = [(session.login_time, session) for session in report.sessions if session.login_time is not None]
    return [
        {
            "Session": text(session.key.session_id),
            "Average login": seconds(login_time),
            "Logins": number(session.timed_logins),
            "Failed logins": number(session.login_failures),
        }
        for login_time, session in sorted(timed, key=lambda entry: -entry[0])[:10]
    ]


def _titled(login: Login) -> str:
    return f"{shortened(login.key.session_id, 40)}, {_duration(login)}, {moment(login.time)} UTC"


def _duration(login: Login) -> str:
    return duration(login.seconds) if login.seconds else "<0.1 s"  # an event contains tenths of a second
