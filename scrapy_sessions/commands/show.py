"""Show the identity of a session, whether and since when it is logged in, its
cookies, its last actions, and why it was retired. Values of cookies, headers,
storages, data and request meta are hidden, and so are proxy passwords and the
values in the queries of URLs, unless --reveal is given.

  scrapy sessions show alice
  scrapy sessions show alice --namespace shop --history 50
  scrapy sessions show alice --json | jq .cookies
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from typing import Any

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.analytics.redaction import safe_url, tidy
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import Context, as_json
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import HIDDEN, age, duration, moment, printable, url_without_password
from scrapy_sessions.models import EVERYWHERE, Cookie, Metrics, PersistentSession
from scrapy_sessions.sessions.proxy_token import current_proxy
from scrapy_sessions.storage import AnalyticsStore

HELP = "show one session: identity, login, cookies, history"
READS_ONLY = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session")
    parser.add_argument("--reveal", action="store_true", help="show secrets too")
    parser.add_argument(
        "--history",
        metavar="N",
        type=types.whole_number(0),
        default=10,
        help="show the last N actions and events (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON object, with the whole history")


async def run(context: Context) -> int:
    options = context.options
    record = await context.record(options.id)
    record = record.model_copy(update={"proxy": current_proxy(record, time.time())})
    events = await _events(context, record)
    if options.json:
        context.write_json(_content(record, events, reveal=options.reveal), indent=2)
    else:
        _print(context, record, events)
    return 0


async def _events(context: Context, record: PersistentSession) -> list[Event]:
    """Return the events of this session that the store contains, newest first."""
    store = context.store
    if not isinstance(store, AnalyticsStore):
        context.note(f"{type(store).__name__} is no AnalyticsStore: there are no events")
        return []
    # Since its start: an earlier session of the same id has events, too.
    events = await store.events(record.namespace, since=record.start_time)
    return [event for event in events if event.session_id == record.session_id]


def _last(events: list[Event], *kinds: str) -> Event | None:
    return next((event for event in events if event.kind in kinds), None)


def _login(record: PersistentSession, events: list[Event]) -> str:
    # A fork or an import may be logged in without its own login: then its generation is above zero.
    logged_in_before = bool(record.metrics.logins or record.generation)
    if record.status == "new":
        return "no longer logged in: it has to log in again" if logged_in_before else "not logged in"
    if not logged_in_before:
        return "none: no spider of it has a login"
    login = _last(events, "login")
    verb = "logged in" if record.status == "ready" else "was logged in"
    return f"{verb} since {_when(login.time)}" if login is not None else f"{verb}, it is unknown since when"


def _state(record: PersistentSession) -> str:
    if record.status == "retired":
        return "retired"
    expiry = record.expiry
    return "expired" if expiry is not None and expiry[0] <= time.time() else "active"


def _when(then: float) -> str:
    return f"{moment(then)} ({age(then, time.time())})"


def _content(record: PersistentSession, events: list[Event], *, reveal: bool) -> dict[str, Any]:
    login, end = _last(events, "login"), _last(events, "retired", "blocked")
    derived = {
        "state": _state(record),
        "expires_at": None if record.expiry is None else record.expiry[0],
        "rests_until": record.rests_until,
        "logged_in_since": login.time if login is not None and record.status == "ready" else None,
        "retired_at": end.time if end is not None and record.status == "retired" else None,
        "events": [{"time": e.time, "kind": e.kind, "detail": e.detail} for e in events],
    }
    if reveal:
        return {**record.model_dump(mode="json"), **derived}
    # Without the fields of a newer version: any of them may be a secret.
    content = record.model_dump(mode="json", include=set(PersistentSession.model_fields))
    content["cookies"] = [
        {**cookie.model_dump(include=set(Cookie.model_fields)), "value": HIDDEN} for cookie in record.cookies
    ]
    content["metrics"] = record.metrics.model_dump(include=set(Metrics.model_fields))
    for name in ("headers", "local_storage", "session_storage"):
        content[name] = {origin: dict.fromkeys(entries, HIDDEN) for origin, entries in content[name].items()}
    content["indexed_db"] = dict.fromkeys(record.indexed_db, HIDDEN)
    for name in ("data", "meta"):
        content[name] = dict.fromkeys(content[name], HIDDEN)
    content["proxy"] = None if record.proxy is None else url_without_password(record.proxy)
    if record.proxy_rotation is not None:
        template = url_without_password(record.proxy_rotation["template"])
        content["proxy_rotation"] = {**record.proxy_rotation, "template": template, "seed": HIDDEN}
    content["last_url"] = _last_page(record)
    content["retired_reason"] = None if record.retired_reason is None else tidy(record.retired_reason)
    content["actions_performed"] = list(map(tidy, record.actions_performed))
    return {**content, **derived}


def _print(context: Context, record: PersistentSession, events: list[Event]) -> None:
    reveal, last = context.options.reveal, context.options.history
    _section(context, "Session", _identity(record, reveal))
    _section(context, "State", _state_lines(record, events, reveal))
    _section(context, "Numbers", _numbers(record))
    if record.cookies:
        _section(context, f"Cookies ({len(record.cookies)})")
        headers = ("NAME", "DOMAIN", "PATH", "EXPIRES", "FLAGS", "VALUE")
        print_table(context, headers, [_cookie(cookie, reveal) for cookie in record.cookies])
    for title, values in (
        ("Headers", record.headers),
        ("Local storage", record.local_storage),
        ("Session storage", record.session_storage),
    ):
        if values:
            entries = [
                (f"{'everywhere' if origin == EVERYWHERE else origin} {name}", value if reveal else HIDDEN)
                for origin, each in values.items()
                for name, value in each.items()
            ]
            _section(context, title, entries)
    for title, content in (("Request meta", record.meta), ("IndexedDB", record.indexed_db), ("Data", record.data)):
        if content:
            _section(context, title, ((name, as_json(value) if reveal else HIDDEN) for name, value in content.items()))
    if events and last > 0:
        lines = ((moment(e.time), f"{e.kind} {e.detail}".strip()) for e in events[:last])
        _section(context, "Events, newest first", lines)
    if record.actions_performed and last > 0:
        actions = record.actions_performed[-last:]
        _section(context, f"History, newest last ({len(actions)} of {len(record.actions_performed)})")
        context.write_lines(f"  {action if reveal else tidy(action)}" for action in actions)


def _section(context: Context, title: str, pairs: Iterable[tuple[str, str | None]] = ()) -> None:
    """Print *title* and, aligned, those of *pairs* that have a value."""
    context.write_raw([context.styled(title, "bold")])
    shown = [(printable(name), printable(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    context.write_raw(f"  {context.styled(f'{name:<{width}}', 'dim')}  {value}" for name, value in shown)


def _identity(record: PersistentSession, reveal: bool) -> Iterator[tuple[str, str | None]]:
    yield "id", record.session_id
    yield "namespace", record.namespace
    yield "pool", record.pool
    yield "profile", record.profile_name
    yield "user agent", record.user_agent
    yield "language", record.language
    yield "timezone", record.timezone
    if record.viewport_width or record.viewport_height:
        yield "viewport", f"{record.viewport_width or '?'} x {record.viewport_height or '?'}"
    yield "proxy", None if record.proxy is None else record.proxy if reveal else url_without_password(record.proxy)
    if record.proxy_rotation is not None:
        yield "proxy lifetime", duration(record.proxy_rotation["lifetime"])


def _state_lines(record: PersistentSession, events: list[Event], reveal: bool) -> Iterator[tuple[str, str | None]]:
    yield "state", _state(record)
    yield "status", record.status
    if record.status == "retired":
        end = _last(events, "retired", "blocked")
        reason = record.retired_reason or "no reason given"
        yield "retired", f"{reason if reveal else tidy(reason)}{f', {_when(end.time)}' if end is not None else ''}"
    yield "login", _login(record, events)
    yield "logins", f"{record.metrics.logins} (generation {record.generation})"
    yield "started", _when(record.start_time)
    yield "last activity", _when(record.last_activity)
    expiry = record.expiry
    yield "expires", "never" if expiry is None else f"{_when(expiry[0])} by {expiry[1]}"
    limits = (("idle", record.idle_timeout), ("age", record.max_age))
    policy = [f"{name} {duration(seconds)}" for name, seconds in limits if seconds]
    if record.max_uses:
        policy.append(f"{record.max_uses} requests")
    policy += [f"{number} requests {name.replace('_', ' ')}" for name, number in record.budget.items()]
    yield "limits", ", ".join(policy) or "none"
    rests_until = record.rests_until
    if rests_until is not None and rests_until > time.time():
        yield "budget", f"used up: it rests until {_when(rests_until)}"
    yield "last page", record.last_url if reveal else _last_page(record)


def _last_page(record: PersistentSession) -> str | None:
    # As a URL: tidy() alone doesn't recognise "javascript:..." and the like in a text.
    return None if record.last_url is None else tidy(safe_url(record.last_url))


def _numbers(record: PersistentSession) -> Iterator[tuple[str, str | None]]:
    metrics = record.metrics
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(metrics.responses.items()))
    responses = sum(metrics.responses.values())
    yield "pages", str(record.pages_visited)
    yield "requests", str(metrics.requests)
    yield "responses", f"{responses} ({statuses})" if statuses else str(responses)
    yield "failures", str(metrics.failures)
    yield "bytes", str(metrics.bytes)
    if responses:
        yield "mean latency", f"{metrics.latency / responses:.3f} s"
    yield "saved", f"{record.revision} times"


def _cookie(cookie: Cookie, reveal: bool) -> tuple[str, ...]:
    flags = {
        "host-only": cookie.host_only,
        "secure": cookie.secure,
        "http-only": cookie.http_only,
        f"same-site={cookie.same_site}": cookie.same_site,
        f"partition={cookie.partition_key}": cookie.partition_key,
    }
    expires = "with the session" if cookie.expires is None else _when(cookie.expires)
    shown = " ".join(name for name, is_set in flags.items() if is_set)
    return (cookie.name, cookie.domain, cookie.path, expires, shown, cookie.value if reveal else HIDDEN)
