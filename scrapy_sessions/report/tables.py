"""The sections that are tables."""

from __future__ import annotations

from collections import Counter

from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.report.attention import was_killed
from scrapy_sessions.report.data import Pool, Report, Session
from scrapy_sessions.report.format import count, percent
from scrapy_sessions.report.parts import (
    NOT_KNOWN,
    Cell,
    Note,
    Part,
    Row,
    Table,
    left_out,
    number,
    pool_name,
    seconds,
    text,
    time,
)
from scrapy_sessions.report.redact import reason


def urls(report: Report) -> list[Part]:
    """The URLs with errors."""
    if not report.urls:
        return [Note("The histories of the sessions contain no error.")]
    rows = [
        {
            "URL": text(errors.url),
            "Errors": number(errors.statuses.total()),
            "Statuses": text(_statuses(errors.statuses)),
            "Sessions": number(errors.sessions),
            "Bans": number(errors.bans),
        }
        for errors in report.urls
    ]
    hint = "From the sessions' histories, which contain the latest actions only, and from bans whose event has a URL."
    return [
        Table("URLs with errors or bans", rows, "urls"),
        *left_out(hint, report.urls_left_out, "URLs, with fewer errors,"),
    ]


def pools(report: Report) -> list[Part]:
    """All pools, and the sessions in none."""
    rows = [
        {
            "Pool": pool_name(pool.name),
            **_namespace(report, pool.namespace),
            "Sessions": number(pool.sessions),
            "In use": number(pool.states["new"] + pool.states["ready"]),
            "Retired": number(pool.states["retired"]),
            "Expired": number(pool.states["expired"]),
            "Removed": number(pool.states["removed"]),
            **_counts(pool),
            "Last activity (UTC)": time(pool.last or None),
        }
        for pool in report.pools
    ]
    return [Table("Pools", rows, "pools"), *left_out("", report.pools_left_out, "pools, with fewer pages,")]


def runs(report: Report) -> list[Part]:
    """The runs of spiders, with how they ended."""
    rows = [
        {
            "Spider": text(run.spider),
            **({"Namespace": text(run.namespace)} if len(report.activity) > 1 else {}),
            "Started (UTC)": time(run.started),
            "Duration": seconds(None if run.finished is None else run.finished - run.started),
            "Finish reason": text(_finish_reason(report, run)),
            "Pages": number(None if run.finished is None else run.pages),
            "Requests": number(None if run.finished is None else run.requests),
        }
        for run in report.runs
    ]
    return [Table("Runs", rows, "runs"), *left_out("", report.runs_left_out, "runs, which started earlier,")]


def _finish_reason(report: Report, run: Run) -> str:
    if run.finished is not None:
        return reason(run.reason)
    return "none: it was killed" if was_killed(report, run) else "none yet"


def sessions(report: Report) -> list[Part]:
    """The sessions that are shown individually."""
    rows = [
        {
            "Session": text(session.key.session_id),
            **_namespace(report, session.key.namespace),
            "Pool": pool_name(session.pool),
            "State": Cell(session.state, session.state, "state"),
            "Reason": text(session.reason or NOT_KNOWN, session.reason),
            "Lifetime": _lifetime(session),
            **_counts(session),
            "Cookies": number(session.cookies),
            "Last activity (UTC)": time(session.last),
        }
        for session in report.sessions
    ]
    hint = "The numbers are totals of each session; login times and bans are from the hours that the store keeps."
    others = report.totals.states.total() - len(report.sessions)
    return [Table("Sessions", rows, "sessions"), *left_out(hint, others, "sessions, with fewer problems and pages,")]


def cookies(report: Report) -> list[Part]:
    """The cookies by name and domain, without values."""
    rows = [
        {
            "Cookie": text(cookie.name or "(no name)"),
            "Domain": text(cookie.domain),
            "Cookies": number(cookie.count),
            "With expiry": number(cookie.dated),
            "Lifetime": seconds(cookie.lifetime / cookie.dated if cookie.dated else None),
            "Expired": number(cookie.expired),
            "Age": seconds(cookie.age / cookie.count),
            "Oldest": seconds(cookie.oldest),
        }
        for cookie in report.cookies
    ]
    hint = "Durations are averages. Cookies without expiry last until the session ends. The report contains no values."
    return [
        Table("Cookies by name and domain", rows, "cookies"),
        *left_out(hint, report.cookies_left_out, "less frequent ones"),
    ]


def _namespace(report: Report, namespace: str) -> Row:
    return {"Namespace": text(namespace)} if len({pool.namespace for pool in report.pools}) > 1 else {}


def _counts(of: Pool | Session) -> Row:
    errors = f"{count(of.errors)} ({percent(of.errors, of.answered)})" if of.errors else "0"
    return {
        "Pages": number(of.pages),
        "Responses": number(of.answered),
        "Errors": number(of.errors, errors),
        "Bans": number(of.blocked),
        "Failures": number(of.failures),
        "Logins": number(of.logins),
        "Failed logins": number(of.login_failures),
        "Login time": seconds(of.login_time),
    }


def _lifetime(session: Session) -> Cell:
    if session.created is None:
        return number(None)
    return seconds(max((session.ended or session.last) - session.created, 0.0))


def _statuses(statuses: Counter[int]) -> str:
    shown = [f"{status} \N{MULTIPLICATION SIGN} {count(n)}" for status, n in statuses.most_common(4)]
    return ", ".join(shown) + (", …" if len(statuses) > 4 else "") or NOT_KNOWN
