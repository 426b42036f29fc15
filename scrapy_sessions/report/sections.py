"""The sections of the page, in their order: what each shows of a report."""

from __future__ import annotations

from collections.abc import Sequence

from scrapy_sessions.report.aggregates import SPANS
from scrapy_sessions.report.charts import Bar, Lane, Line, bars, curves, lanes, proportions
from scrapy_sessions.report.data import Bucket, Mark, Report, Session
from scrapy_sessions.report.format import count, duration, duration_ticks, moment, percent
from scrapy_sessions.report.logins import logins
from scrapy_sessions.report.parts import Hint, Legend, Note, Part, Section, Tiles, details, left_out
from scrapy_sessions.report.survival import Step, median, survival
from scrapy_sessions.report.tables import (
    NOT_KNOWN,
    Cell,
    cookie_table,
    number,
    pool_table,
    seconds,
    session_table,
    text,
    time,
    url_table,
)

__all__ = ["sections"]

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
"""The shape of the mark of each event, and its name."""
_SHAPES = {"login": "login", "failed": "failed login", "lost": "login lost", "blocked": "blocked", "end": "end"}
_STATES = ("new", "ready", "retired", "expired", "removed")


def sections(report: Report) -> list[Section]:
    """Return the sections that have something to show."""
    every = [
        Section("numbers", "Numbers", "In numbers", True, _numbers(report)),
        Section("traffic", "Traffic", "Pages and responses", True, _traffic(report)),
    ]
    if report.sessions:
        every += [
            Section("timeline", "Lives", "Lives of sessions", True, _timeline(report)),
            Section("survival", "Survival", "How long sessions last", False, _survival(report)),
        ]
    if report.analytics:
        every.append(Section("logins", "Logins", "How long logins take", False, logins(report)))
    if report.sessions:
        every.append(Section("trouble", "Trouble", "Errors and bans by session", False, _trouble(report)))
    if report.cookies:
        every.append(Section("ages", "Cookies' life", "How long cookies live", False, _cookie_ages(report)))
    if report.sessions:
        every.append(Section("urls", "URLs", "Errors and bans by URL", True, _urls(report)))
    if report.pools:
        every.append(Section("pools", "Pools", "Pools", True, _pools(report)))
    if report.sessions:
        every.append(Section("sessions", "Sessions", "Sessions", True, _sessions(report)))
    if report.cookies:
        every.append(Section("cookies", "Cookies", "Cookies by name", True, _cookies(report)))
    return every


def _numbers(report: Report) -> list[Part]:
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
    found = [(status, n) for status, n in sorted(report.totals.responses.items())]
    rows = [(f"Status {s}", [(float(n), _colour(s), f"{count(n)} responses with status {s}")]) for s, n in found[:30]]
    why = (
        "No counters by hour were written yet: they come with the first crawl."
        if report.analytics
        else "This store keeps no counters by hour: here are all responses of the sessions, by status."
    )
    return [Note(why), proportions("Responses by status", rows)] if rows else [Note(why)]


def _timeline(report: Report) -> list[Part]:
    """The sessions with most to show, from start to end, with their events."""
    # Half of the lanes are for the most troubled ones, half for the most active ones.
    troubled = [session for session in report.sessions if any(session.trouble)][: _LANES // 2]
    active = sorted(report.sessions, key=lambda session: session.pages, reverse=True)
    keys = dict.fromkeys(session.key for session in (*troubled, *active, *report.sessions))
    chosen = {session.key: session for session in report.sessions}
    shown = sorted((chosen[key] for key in list(keys)[:_LANES]), key=_start)
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
    return [
        Legend(
            [
                *((f"s-{state}", state) for state in states),
                *((f"m-{shape}", name) for shape, name in _SHAPES.items() if shape in used),
            ]
        ),
        lanes("Lives of sessions over time", [_lane(session, end) for session in shown], start=start, end=end),
        Hint(f"{len(shown)} of {count(len(report.sessions))} sessions, by birth. A bar is a life. Times are UTC."),
        *details(f"The latest {len(rows)} events" if len(rows) >= _LISTED else "The events", "What happened", rows),
    ]


def _lane(session: Session, now: float) -> Lane:
    start = _start(session)
    end = session.ended or session.last
    title = (
        f"{session.key.session_id}: {session.state}, {moment(start)} to {moment(end)} UTC, {count(session.pages)} pages"
    )
    if session.reason:
        title += f"; {session.reason}"
    marks = [_mark(session, mark) for mark in session.marks if mark.kind in _MARKS and mark.kind != "born"]
    return Lane(_label(session), f"s-{session.state}", start, min(max(end, start), now), title, marks)


def _mark(session: Session, mark: Mark) -> tuple[float, str, str]:
    shape, name = _MARKS[mark.kind]
    detail = f": {mark.detail}" if mark.detail else ""
    return mark.time, shape, f"{session.key.session_id} {name}, {moment(mark.time)} UTC{detail}"


def _start(session: Session) -> float:
    return session.born if session.born is not None else session.marks[0].time if session.marks else session.last


def _survival(report: Report) -> list[Part]:
    ended = survival((life.entry, life.exit, life.ended) for life in report.lives)
    retired = survival((life.entry, life.exit, life.retired) for life in report.lives)
    end = max((steps[-1].time for steps in (ended, retired) if steps), default=0.0)
    if not end:
        return [Note("There is no session whose life could be measured yet.")]
    lines = [
        Line("retired", [(step.time, step.share) for step in retired]),
        Line("ended", [(step.time, step.share) for step in ended]),
    ]
    rows = [
        {
            "Age": number(age, duration(age)),
            "Not retired": _share(retired, age),
            "Still there": _share(ended, age),
            "Sessions of that age": number(sum(life.entry < age <= life.exit for life in report.lives)),
        }
        for age, _ in duration_ticks(end, 12)
        if age
    ]
    return [
        Legend([("l retired", "not retired"), ("l ended", "neither retired, expired nor removed")]),
        curves("Survival of sessions by age", lines, end=end, ticks=duration_ticks(end)),
        Hint(
            f"How to read it: above an age stands the share of sessions that reach it. Sessions still in use count for "
            f"as long as they have been seen (Kaplan-Meier). {count(len(report.lives))} lives. "
            f"{_half(ended, 'last')} {_half(retired, 'are not retired')}"
        ),
        *details("The numbers", "Survival by age", rows),
    ]


def _half(steps: Sequence[Step], what: str) -> str:
    age = median(steps)
    if age is None:
        return f"More than half {what} for as long as they were seen."
    return f"Half {what} for {duration(age)} or more."


def _share(steps: Sequence[Step], age: float) -> Cell:
    share = next(step.share for step in reversed(steps) if step.time <= age)
    return number(share, percent(share, 1))


def _trouble(report: Report) -> list[Part]:
    """The sessions with most errors."""
    found = [session for session in report.sessions if any(session.trouble)][:_TROUBLED]
    if not found:
        return [Note("Nothing went wrong: no error, no failure, no ban.")]
    rows = []
    for session in found:
        failures = session.failures + session.login_failures
        name = _label(session) + (f" · bans: {count(session.blocked)}" if session.blocked else "")
        group = [
            (float(session.errors), "c4", f"{count(session.errors)} responses with status 400 and above"),
            (float(failures), "c5", f"{count(failures)} failures, {count(session.login_failures)} of them logins"),
        ]
        rows.append((f"{name} · {session.state}" if session.state != "ready" else name, group))
    return [
        Legend([("c4", "responses with status 400 and above"), ("c5", "failures")]),
        proportions("Errors and failures by session", rows),
    ]


def _cookie_ages(report: Report) -> list[Part]:
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
    return [Legend([("c2", "dated to live"), ("c3", "age now")]), proportions("Lifetimes and ages of cookies", rows)]


def _urls(report: Report) -> list[Part]:
    if not report.urls:
        return [Note("The histories of the sessions tell of no error.")]
    hint = "From the sessions' histories, which remember the latest actions only, and from bans that name a URL."
    return [url_table(report.urls), *left_out(hint, report.urls_left_out, "URLs, with fewer errors,")]


def _pools(report: Report) -> list[Part]:
    table = pool_table(report.pools, namespaces=_has_namespaces(report))
    return [table, *left_out("", report.pools_left_out, "pools, with fewer pages,")]


def _sessions(report: Report) -> list[Part]:
    hint = "The numbers of a session are of its whole life; login times and bans are of the hours that the store keeps."
    others = report.totals.states.total() - len(report.sessions)
    table = session_table(report.sessions, namespaces=_has_namespaces(report))
    return [table, *left_out(hint, others, "sessions, less troubled and less active,")]


def _cookies(report: Report) -> list[Part]:
    hint = "Durations are averages. Cookies without a date last until the session ends. Values are not in this report."
    return [cookie_table(report.cookies), *left_out(hint, report.cookies_left_out, "less frequent ones")]


def _has_namespaces(report: Report) -> bool:
    return len({pool.namespace for pool in report.pools}) > 1


def _of_class(bucket: Bucket, first: int) -> int:
    known = range(2, 6)
    return sum(n for s, n in bucket.responses.items() if (s // 100 if s // 100 in known else 0) == first)


def _colour(status: int) -> str:
    return next((colour for first, _, colour in _CLASSES if first == status // 100), "c0")


def _label(session: Session) -> str:
    name = session.key.session_id
    short = name if len(name) <= 40 else f"{name[:24]}…{name[-12:]}"
    return f"{short} ({session.pool[:20]})" if session.pool else short
