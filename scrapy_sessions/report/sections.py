"""The sections of the page, each out of a report's data."""

from __future__ import annotations

from collections.abc import Sequence

from scrapy_sessions.report.aggregates import SPANS
from scrapy_sessions.report.charts import Bar, Lane, Line, bars, curves, lanes, legend, proportions
from scrapy_sessions.report.data import Bucket, Report, Session
from scrapy_sessions.report.format import count, duration, duration_ticks, moment, percent
from scrapy_sessions.report.markup import Html, details, hint, join, note, tag
from scrapy_sessions.report.survival import Step, median, survival
from scrapy_sessions.report.tables import NOT_KNOWN, Cell, number, plain_table, text, time_of

__all__ = ["cookie_charts", "numbers", "survival_chart", "timeline", "traffic", "trouble"]

_LANES = 24
_LISTED = 200  # events in words, below the lanes
_TROUBLED = 8
_CLASSES = ((2, "2xx", "c2"), (3, "3xx", "c3"), (4, "4xx", "c4"), (5, "5xx", "c5"), (0, "other", "c0"))
_MARKS = {
    "born": ("born", "born"),
    "login": ("login", "logged in"),
    "login_failed": ("failed", "login failed"),
    "expired_login": ("lost", "login lost"),
    "blocked": ("blocked", "blocked by the site"),
    "retired": ("end", "retired"),
    "expired": ("end", "expired"),
    "deleted": ("end", "deleted"),
}
_STATES = ("new", "ready", "retired", "expired", "removed")


def numbers(report: Report) -> Html:
    """What the report comes to, in a few numbers."""
    totals = report.totals
    in_use = totals.states["new"] + totals.states["ready"]
    states = [f"{count(in_use)} in use"]
    states += [f"{count(totals.states[s])} {s}" for s in ("retired", "expired", "removed") if totals.states[s]]
    good = sum(n for status, n in totals.responses.items() if status < 400)
    took = f"{duration(totals.login_time)} on average" if totals.login_time is not None else ""
    failed = f"{count(totals.login_failures)} failed" if report.analytics else ""
    tiles = [
        ("Sessions", count(totals.sessions), ", ".join(states)),
        ("Pages", count(totals.pages), f"of {count(totals.requests)} requests"),
        ("Responses", count(totals.answered), f"{percent(good, totals.answered)} below status 400"),
        ("Errors", percent(totals.errors, totals.answered), f"{count(totals.errors)} with status 400 and above"),
        ("Logins", count(totals.logins), ", ".join(filter(None, (took, failed)))),
        ("Bans", count(totals.blocked) if report.analytics else NOT_KNOWN, "sessions that a site turned away"),
        ("Pools", count(totals.pools), "in all namespaces" if report.namespace is None else ""),
        ("Cookies", count(totals.cookies), "in the sessions in the store"),
    ]
    return tag(
        "dl",
        [
            tag("div", tag("dt", name), tag("dd", value, class_="figure"), tag("dd", words) if words else None)
            for name, value, words in tiles
        ],
        class_="tiles",
    )


def traffic(report: Report) -> Html:
    """Pages, and responses by status, over time."""
    if not report.buckets:
        return _by_status(report)
    shown = [entry for entry in _CLASSES if any(_of_class(bucket, entry[0]) for bucket in report.buckets)]
    width = report.bucket_seconds
    series = [
        Bar(
            bucket.start,
            [(_of_class(bucket, first), colour) for first, _, colour in shown],
            f"{moment(bucket.start)} UTC: {count(bucket.answered)} responses"
            + "".join(f", {name} {count(_of_class(bucket, first))}" for first, name, _ in shown)
            + f"; {count(bucket.pages)} pages",
        )
        for bucket in report.buckets
    ]
    pages = Line("pages", [(bucket.start + width / 2, bucket.pages) for bucket in report.buckets])
    return join(
        legend(*((colour, name) for _, name, colour in shown), ("l pages", "pages")),
        bars("Responses by status, and pages, over time", series, width=width, line=pages),
        hint(f"One bar is {duration(width)}. Times are UTC."),
        _numbers_of_buckets(report),
    )


def _by_status(report: Report) -> Html:
    found = [(status, n) for status, n in sorted(report.totals.responses.items())]
    rows = [(f"Status {s}", [(float(n), _colour(s), f"{count(n)} responses with status {s}")]) for s, n in found[:30]]
    why = (
        "No counters by hour were written yet: they come with the first crawl."
        if report.analytics
        else "This store keeps no counters by hour: here are all responses of the sessions, by status."
    )
    return join(note(why), proportions("Responses by status", rows) if rows else None)


def _numbers_of_buckets(report: Report) -> Html:
    columns = ["From (UTC)", "Pages", "Responses", *(name for _, name, _ in _CLASSES), "Bans", "Logins", "Login time"]
    rows = [
        [
            Cell(time_of(bucket.start), bucket.start),
            number(bucket.pages),
            number(bucket.answered),
            *(number(_of_class(bucket, first)) for first, _, _ in _CLASSES),
            number(bucket.blocked),
            number(bucket.logins),
            number(bucket.login_time, None if bucket.login_time is None else duration(bucket.login_time)),
        ]
        for bucket in report.buckets
        if bucket.answered or bucket.pages or bucket.logins or bucket.login_failures
    ]
    return details("The numbers", plain_table("Pages and responses over time", columns, rows))


def timeline(report: Report) -> Html:
    """The lives of the sessions that there is most to tell of."""
    # Half of the lanes for the most troubled, half for the most active: both belong to the picture.
    troubled = [session for session in report.sessions if any(session.trouble)][: _LANES // 2]
    active = sorted(report.sessions, key=lambda session: session.pages, reverse=True)
    keys = dict.fromkeys(session.key for session in (*troubled, *active, *report.sessions))
    chosen = {session.key: session for session in report.sessions}
    shown = sorted((chosen[key] for key in list(keys)[:_LANES]), key=_start)
    ends = [session.ended or session.last for session in shown]
    start, end = min(map(_start, shown)), max([*ends, *(mark.time for s in shown for mark in s.marks)])
    if report.since is not None:
        start = max(start, report.since)
    end = max(end, start + 60.0)
    used = {_MARKS[mark.kind][0] for session in shown for mark in session.marks if mark.kind in _MARKS}
    states = [state for state in _STATES if any(session.state == state for session in shown)]
    names = {"login": "login", "failed": "failed login", "lost": "login lost", "blocked": "blocked", "end": "end"}
    found = [(mark, session) for session in shown for mark in session.marks if mark.kind in _MARKS]
    found = sorted(found, key=lambda entry: entry[0].time, reverse=True)[:_LISTED]
    rows = [
        [
            Cell(time_of(mark.time), mark.time),
            text(session.key.session_id),
            text(_MARKS[mark.kind][1]),
            text(mark.detail or NOT_KNOWN),
        ]
        for mark, session in found
    ]
    listed = plain_table("What happened", ["Time (UTC)", "Session", "Event", "Detail"], rows)
    return join(
        legend(
            *((f"s-{state}", state) for state in states),
            *((f"m-{shape}", name) for shape, name in names.items() if shape in used),
        ),
        lanes("Lives of sessions over time", [_lane(session, end) for session in shown], start=start, end=end),
        hint(f"{len(shown)} of {count(len(report.sessions))} sessions, by birth. A bar is a life. Times are UTC."),
        details(f"The latest {len(rows)} events" if len(found) >= _LISTED else "The events", listed) if rows else None,
    )


def _lane(session: Session, now: float) -> Lane:
    start = _start(session)
    end = session.ended or session.last
    title = (
        f"{session.key.session_id}: {session.state}, {moment(start)} to {moment(end)} UTC, {count(session.pages)} pages"
    )
    if session.reason:
        title += f"; {session.reason}"
    marks = []
    for mark in session.marks:
        if mark.kind in _MARKS and mark.kind != "born":
            shape, name = _MARKS[mark.kind]
            detail = f": {mark.detail}" if mark.detail else ""
            marks.append((mark.time, shape, f"{session.key.session_id} {name}, {moment(mark.time)} UTC{detail}"))
    return Lane(_label(session), f"s-{session.state}", start, min(max(end, start), now), title, marks)


def _start(session: Session) -> float:
    return session.born if session.born is not None else session.marks[0].time if session.marks else session.last


def survival_chart(report: Report) -> Html:
    """How long sessions live."""
    ended = survival((life.entry, life.exit, life.ended) for life in report.lives)
    retired = survival((life.entry, life.exit, life.retired) for life in report.lives)
    end = max((steps[-1].time for steps in (ended, retired) if steps), default=0.0)
    if not end:
        return note("There is no session whose life could be measured yet.")
    lines = [
        Line("retired", [(step.time, step.share) for step in retired]),
        Line("ended", [(step.time, step.share) for step in ended]),
    ]
    columns = ["Age", "Not retired", "Still there", "Sessions of that age"]
    rows = [
        [
            Cell(duration(age), age),
            number(_at(retired, age).share, percent(_at(retired, age).share, 1)),
            number(_at(ended, age).share, percent(_at(ended, age).share, 1)),
            number(sum(life.entry < age <= life.exit for life in report.lives)),
        ]
        for age, _ in duration_ticks(end, 12)
        if age
    ]
    return join(
        legend(("l retired", "not retired"), ("l ended", "neither retired, expired nor removed")),
        curves("Survival of sessions by age", lines, end=end, ticks=duration_ticks(end)),
        hint(
            f"How to read it: above an age stands the share of sessions that reach it. Sessions still in use count for "
            f"as long as they have been seen (Kaplan-Meier). {count(len(report.lives))} lives. "
            f"{_half(ended, 'last')} {_half(retired, 'are not retired')}"
        ),
        details("The numbers", plain_table("Survival by age", columns, rows)),
    )


def _half(steps: Sequence[Step], what: str) -> str:
    age = median(steps)
    if age is None:
        return f"More than half {what} for as long as they were seen."
    return f"Half {what} for {duration(age)} or more."


def _at(steps: Sequence[Step], age: float) -> Step:
    return next(step for step in reversed(steps) if step.time <= age)


def trouble(report: Report) -> Html:
    """The sessions in which most went wrong."""
    found = [session for session in report.sessions if any(session.trouble)][:_TROUBLED]
    if not found:
        return note("Nothing went wrong: no error, no failure, no ban.")
    rows = []
    for session in found:
        failures = session.failures + session.login_failures
        name = _label(session) + (f" · bans: {count(session.blocked)}" if session.blocked else "")
        group = [
            (float(session.errors), "c4", f"{count(session.errors)} responses with status 400 and above"),
            (float(failures), "c5", f"{count(failures)} failures, {count(session.login_failures)} of them logins"),
        ]
        rows.append((f"{name} · {session.state}" if session.state != "ready" else name, group))
    return join(
        legend(("c4", "responses with status 400 and above"), ("c5", "failures")),
        proportions("Errors and failures by session", rows),
    )


def cookie_charts(report: Report) -> Html:
    """How long cookies are to live, and how old they are."""
    rows = [
        (
            name,
            [
                (float(report.lifetimes[name]), "c2", f"{count(report.lifetimes[name])} cookies are dated: {name}"),
                (float(report.ages[name]), "c3", f"{count(report.ages[name])} cookies are of this age: {name}"),
            ],
        )
        for name in SPANS
    ]
    undated = float(report.lifetimes["no date"])
    rows.append(("until the session ends", [(undated, "c2", f"{count(undated)} cookies have no date")]))
    return join(legend(("c2", "dated to live"), ("c3", "age now")), proportions("Lifetimes and ages of cookies", rows))


def _of_class(bucket: Bucket, first: int) -> int:
    known = range(2, 6)
    return sum(n for s, n in bucket.responses.items() if (s // 100 if s // 100 in known else 0) == first)


def _colour(status: int) -> str:
    return next((colour for first, _, colour in _CLASSES if first == status // 100), "c0")


def _label(session: Session) -> str:
    name = session.key.session_id
    short = name if len(name) <= 40 else f"{name[:24]}…{name[-12:]}"
    return f"{short} ({session.pool[:20]})" if session.pool else short
