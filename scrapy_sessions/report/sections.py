"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from scrapy_sessions.report.aggregates import AGES, balanced
from scrapy_sessions.report.attention import attention
from scrapy_sessions.report.charts import Bar, Lane, Line, Proportions, bars, curves, lanes
from scrapy_sessions.report.data import Bucket, Mark, Report, Session
from scrapy_sessions.report.format import count, duration, duration_ticks, in_words, moment, percent
from scrapy_sessions.report.logins import logins
from scrapy_sessions.report.parts import (
    NOT_KNOWN,
    Cell,
    Hint,
    Legend,
    Note,
    Part,
    Section,
    Tiles,
    details,
    number,
    seconds,
    text,
    time,
)
from scrapy_sessions.report.pool_history import pool_history
from scrapy_sessions.report.survival import Step, median, survival
from scrapy_sessions.report.tables import cookies, pools, runs, sessions, urls

_LANES = 24
_LISTED = 200  # events in the table below the lanes
_MOST_ERRORS = 8
_CLASSES = ((2, "2xx", "c2"), (3, "3xx", "c3"), (4, "4xx", "c4"), (5, "5xx", "c5"), (0, "other", "c0"))
_MARKS = {
    "created": ("created", "created"),
    "login": ("login", "logged in"),
    "login_failed": ("failed", "login failed"),
    "given_up": ("failed", "login given up"),
    "expired_login": ("expired", "login expired"),
    "blocked": ("blocked", "blocked by the site"),
    "retired": ("end", "retired"),
    "expired": ("end", "expired"),
    "deleted": ("end", "deleted"),
}
"""The shape of the mark of each event, and its name."""
_SHAPES = {"login": "login", "failed": "failed login", "expired": "login expired", "blocked": "blocked", "end": "end"}
_STATES = ("new", "ready", "retired", "expired", "removed")


def sections(report: Report) -> list[Section]:
    """Return the sections that have data."""
    every = [
        (True, "attention", "Attention", "What needs attention", True, attention),
        (True, "numbers", "Summary", "Summary", True, _numbers),
        (True, "traffic", "Traffic", "Pages and responses", True, _traffic),
        (report.runs, "runs", "Runs", "Runs", True, runs),
        (report.sessions, "timeline", "Timeline", "Session timeline", True, _timeline),
        (report.sessions, "survival", "Lifetimes", "Session lifetimes", False, _survival),
        (report.analytics, "logins", "Logins", "Duration of logins", False, logins),
        (report.sessions, "errors", "Errors", "Errors and bans by session", False, _errors),
        (report.cookies, "ages", "Cookie lifetimes", "Cookie lifetimes", False, _cookie_ages),
        (report.sessions, "urls", "URLs", "Errors and bans by URL", True, urls),
        (report.buckets, "history", "Pools over time", "Pools over time", True, pool_history),
        (report.pools, "pools", "Pools", "Pools", True, pools),
        (report.sessions, "sessions", "Sessions", "Sessions", True, sessions),
        (report.cookies, "cookies", "Cookies", "Cookies by name", True, cookies),
    ]
    return [Section(name, link, title, wide, parts(report)) for data, name, link, title, wide, parts in every if data]


def _numbers(report: Report) -> list[Part]:
    totals = report.totals
    in_use = totals.states["new"] + totals.states["ready"]
    states = [f"{count(in_use)} in use"]
    states += [f"{count(totals.states[s])} {s}" for s in ("retired", "expired", "removed") if totals.states[s]]
    good = sum(n for status, n in totals.responses.items() if status < 400)
    average = f"{duration(totals.login_time)} on average" if totals.login_time is not None else ""
    failed = f"{count(totals.login_failures)} failed" if report.analytics else ""
    tiles = [
        ("Sessions", count(totals.sessions), ", ".join(states)),
        ("Pages", count(totals.pages), f"of {count(totals.requests)} requests"),
        ("Responses", count(totals.answered), f"{percent(good, totals.answered)} below status 400"),
        ("Errors", percent(totals.errors, totals.answered), f"{count(totals.errors)} with status 400 and above"),
        ("Logins", count(totals.logins), ", ".join(filter(None, (average, failed)))),
        ("Bans", count(totals.blocked) if report.analytics else NOT_KNOWN, "sessions blocked by a site"),
        ("Pools", count(totals.pools), "in all namespaces" if report.namespace is None else ""),
        ("Cookies", count(totals.cookies), "in the sessions in the store"),
    ]
    return [Tiles(tiles)]


def _traffic(report: Report) -> list[Part]:
    """Responses by class of status, and pages, over time."""
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
    rows = [
        {
            "From (UTC)": time(bucket.start),
            "Pages": number(bucket.pages),
            "Responses": number(bucket.answered),
            **{name: number(_of_class(bucket, first)) for first, name, _ in _CLASSES},
            "Bans": number(bucket.blocked),
            "Logins": number(bucket.logins),
            "Login time": seconds(bucket.login_time),
        }
        for bucket in report.buckets
        if bucket.answered or bucket.pages or bucket.logins or bucket.login_failures
    ]
    return [
        Legend([*((colour, name) for _, name, colour in shown), ("l pages", "pages")]),
        bars("Responses by status, and pages, over time", series, width=width, line=pages),
        Hint(f"One bar is {duration(width)}. Times are UTC."),
        *details("The numbers", "Pages and responses over time", rows),
    ]


def _by_status(report: Report) -> list[Part]:
    found = sorted(report.totals.responses.items())[:30]
    rows = [(f"Status {s}", [(float(n), _colour(s), f"{count(n)} responses with status {s}")]) for s, n in found]
    why = (
        "The store contains no counters by hour yet: a crawl writes them."
        if report.analytics
        else "This store keeps no counters by hour. These are all responses of the sessions by status."
    )
    return [Note(why), Proportions("Responses by status", rows)] if rows else [Note(why)]


def _timeline(report: Report) -> list[Part]:
    """Some sessions from start to end, with their events."""
    problematic = [session for session in report.sessions if any(session.problems)]
    active = sorted(report.sessions, key=lambda session: session.pages, reverse=True)
    shown = sorted(balanced(problematic, active, _LANES), key=_start)
    found = [(mark, session) for session in shown for mark in session.marks if mark.kind in _MARKS]
    start, end = min(map(_start, shown)), max(session.ended or session.last for session in shown)
    if report.since is not None:
        start = max(start, report.since)
    end = max(end, start + 60.0, *(mark.time for session in shown for mark in session.marks))
    used = {_MARKS[mark.kind][0] for mark, _ in found}
    states = [state for state in _STATES if any(session.state == state for session in shown)]
    found = sorted(found, key=lambda entry: entry[0].time, reverse=True)[:_LISTED]
    rows = [
        {
            "Time (UTC)": time(mark.time),
            "Session": text(session.key.session_id),
            "Event": text(_MARKS[mark.kind][1]),
            "Detail": text(mark.detail or NOT_KNOWN),
        }
        for mark, session in found
    ]
    legend = [(f"s-{state}", state) for state in states]
    legend += [(f"m-{shape}", name) for shape, name in _SHAPES.items() if shape in used]
    return [
        Legend(legend),
        lanes("Sessions over time", [_lane(session, end) for session in shown], start=start, end=end),
        Hint(
            f"{len(shown)} of {count(len(report.sessions))} sessions, by creation time. A bar is the lifetime of a "
            f"session. Times are UTC."
        ),
        *details(f"The latest {len(rows)} events" if len(rows) >= _LISTED else "The events", "Session events", rows),
    ]


def _lane(session: Session, now: float) -> Lane:
    start, end = _start(session), session.ended or session.last
    period = f"{moment(start)} to {moment(end)} UTC"
    title = f"{session.key.session_id}: {session.state}, {period}, {count(session.pages)} pages"
    if session.reason:
        title += f"; {session.reason}"
    marks = [_mark(session, mark) for mark in session.marks if mark.kind in _MARKS and mark.kind != "created"]
    return Lane(_label(session), f"s-{session.state}", start, min(max(end, start), now), title, marks)


def _mark(session: Session, mark: Mark) -> tuple[float, str, str]:
    shape, name = _MARKS[mark.kind]
    detail = f": {mark.detail}" if mark.detail else ""
    return mark.time, shape, f"{session.key.session_id} {name}, {moment(mark.time)} UTC{detail}"


def _start(session: Session) -> float:
    if session.created is not None:
        return session.created
    return session.marks[0].time if session.marks else session.last


def _survival(report: Report) -> list[Part]:
    ended = survival((each.entry, each.exit, each.ended) for each in report.lifetimes)
    retired = survival((each.entry, each.exit, each.retired) for each in report.lifetimes)
    end = max((steps[-1].time for steps in (ended, retired) if steps), default=0.0)
    if not end:
        return [Note("The lifetime of no session is known yet.")]
    lines = [Line(name, [(s.time, s.share) for s in steps]) for name, steps in (("retired", retired), ("ended", ended))]
    rows = [
        {
            "Age": number(age, duration(age)),
            "Not retired": _share(retired, age),
            "Not ended": _share(ended, age),
            "Sessions of that age": number(sum(each.entry < age <= each.exit for each in report.lifetimes)),
        }
        for age, _ in duration_ticks(end, 12)
        if age
    ]
    return [
        Note(f"{_median(ended, 'lasted longer than')} {_median(retired, 'were not retired before')}"),
        Legend([("l retired", "not retired"), ("l ended", "neither retired, expired nor removed")]),
        curves("Survival of sessions by age", lines, end=end, ticks=duration_ticks(end)),
        Hint(
            f"The curves show the share of sessions that reach an age (Kaplan-Meier). Sessions in use count until they "
            f"were last seen. Number of sessions: {count(len(report.lifetimes))}."
        ),
        *details("The numbers", "Survival by age", rows),
    ]


def _median(steps: Sequence[Step], what: str) -> str:
    age = median(steps)
    if age is None:
        return f"More than half of the sessions {what} {in_words(steps[-1].time)}, as far as they were observed."
    return f"Half of the sessions {what} {in_words(age)}."


def _share(steps: Sequence[Step], age: float) -> Cell:
    share = next(step.share for step in reversed(steps) if step.time <= age)
    return number(share, percent(share, 1))


def _errors(report: Report) -> list[Part]:
    """The sessions with most errors."""
    rows = []
    for session in [each for each in report.sessions if any(each.problems)][:_MOST_ERRORS]:
        failures = session.failures + session.login_failures
        name = _label(session) + (f" · bans: {count(session.blocked)}" if session.blocked else "")
        group = [
            (float(session.errors), "c4", f"{count(session.errors)} responses with status 400 and above"),
            (float(failures), "c5", f"{count(failures)} failures, {count(session.login_failures)} of them logins"),
        ]
        rows.append((f"{name} · {session.state}" if session.state != "ready" else name, group))
    if not rows:
        return [Note("There is no error, no failure and no ban.")]
    return [
        Legend([("c4", "responses with status 400 and above"), ("c5", "failures")]),
        Proportions("Errors and failures by session", rows),
    ]


def _cookie_ages(report: Report) -> list[Part]:
    rows = []
    for name in AGES:
        lifetimes, ages = report.cookie_lifetimes[name], report.cookie_ages[name]
        group = [
            (float(lifetimes), "c2", f"{count(lifetimes)} cookies with this lifetime: {name}"),
            (float(ages), "c3", f"{count(ages)} cookies of this age: {name}"),
        ]
        rows.append((name, group))
    undated = float(report.cookie_lifetimes["no date"])
    rows.append(("until the session ends", [(undated, "c2", f"{count(undated)} cookies without expiry")]))
    return [Legend([("c2", "lifetime"), ("c3", "age")]), Proportions("Lifetimes and ages of cookies", rows)]


def _of_class(bucket: Bucket, first: int) -> int:
    return sum(n for s, n in bucket.responses.items() if (s // 100 if 2 <= s // 100 <= 5 else 0) == first)


def _colour(status: int) -> str:
    return next((colour for first, _, colour in _CLASSES if first == status // 100), "c0")


def _label(session: Session) -> str:
    name = session.key.session_id
    short = name if len(name) <= 40 else f"{name[:24]}…{name[-12:]}"
    return f"{short} ({session.pool[:20]})" if session.pool else short
