"""The checks of ``scrapy sessions doctor``.

They don't change a store, except that opening it may migrate it and makes it private, and that rows that no listing can
show are quarantined.
"""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from pathlib import Path

import scrapy
from scrapy.utils.project import inside_project

from scrapy_sessions.commands.diagnosis.findings import Finding, error, ok, warning
from scrapy_sessions.commands.diagnosis.records import examine_records
from scrapy_sessions.commands.diagnosis.redis_server import examine_server
from scrapy_sessions.commands.diagnosis.sqlite_file import examine_file
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.models import SessionInfo
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore, RedisStore, SessionStore, SQLiteStore
from scrapy_sessions.storage.base import Key

_ASYNCIO_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
_OTHER_PACKAGE = "scrapy-sessions"
_LEEWAY = 60.0  # seconds by which the clocks of two machines may differ
_NAMED = 5  # quarantined records that are named


async def examine(context: Context) -> AsyncIterator[Finding]:
    """Run all checks, each before those that depend on it."""
    for finding in (*_packages(), *_settings(context)):
        yield finding
    try:
        store = context.store
    except (SessionError, CommandError) as e:
        yield error("store", str(e), "Correct SESSIONS_STORE or --store")
        return
    except OSError as e:  # when checking whether it is a folder
        yield _inaccessible(Path(e.filename or context.options.store or "."), e)
        return
    yield ok("store", f"The store is {store.location}")
    if isinstance(store, MemoryStore):
        yield warning(
            "store", "It ends with its process: no session is kept after a run", "Set SESSIONS_STORE to sqlite://"
        )
        return
    if isinstance(store, SQLiteStore):
        findings, usable = _file(Path(store.location))
        for finding in findings:
            yield finding
        if not usable:
            return
    fault = "It can't be opened"
    try:
        await store.open()
        fault = "It can't be read"
        async for finding in _content(context, store):
            yield finding
    except SessionError as e:
        yield error("store", fault, str(e))
    finally:
        await store.close()


def _packages() -> Iterator[Finding]:
    ours = metadata.version("scrapy-persistent-sessions")
    versions = f"scrapy-persistent-sessions {ours}, Scrapy {scrapy.__version__}, Python {platform.python_version()}"
    try:
        metadata.version(_OTHER_PACKAGE)
    except metadata.PackageNotFoundError:
        yield ok("packages", versions)
    else:
        yield error(
            "packages",
            f"The package {_OTHER_PACKAGE} is also installed, in the same folder, scrapy_sessions",
            f"python -m pip uninstall {_OTHER_PACKAGE}, then "
            f"python -m pip install --force-reinstall --no-deps scrapy-persistent-sessions",
        )


def _settings(context: Context) -> Iterator[Finding]:
    settings = context.settings
    try:
        values = SessionsSettings.from_settings(settings)
    except SessionError as e:
        yield error(
            "settings", str(e), "Correct them: no crawl starts with them. scrapy sessions settings shows the others"
        )
    else:
        yield ok("settings", "All SESSIONS_* settings are valid")
        if not values.enabled:
            yield warning("settings", "SESSIONS_ENABLED is false: spiders use no sessions", "Set it to True")
    if inside_project() and not _is_enabled(settings):
        yield warning(
            "set-up",
            "Neither ADDONS nor EXTENSIONS of this project contains a component of scrapy_sessions",
            'Add it to settings.py: ADDONS = {"scrapy_sessions.SessionsAddon": 300}',
        )
    reactor = settings["TWISTED_REACTOR"]
    if reactor == _ASYNCIO_REACTOR or not settings.getbool("TWISTED_REACTOR_ENABLED", True):
        yield ok("asyncio", "Spiders run on asyncio")
    else:
        yield error(
            "asyncio",
            f"Sessions need Scrapy's asyncio reactor, and TWISTED_REACTOR is {reactor!r}",
            f"Remove TWISTED_REACTOR from the settings, or set it to {_ASYNCIO_REACTOR!r}",
        )


def _is_enabled(settings: scrapy.settings.BaseSettings) -> bool:
    names = [*settings.getdict("ADDONS"), *settings.getdict("EXTENSIONS")]
    return any("scrapy_sessions." in (name if isinstance(name, str) else f"{name.__module__}.") for name in names)


def _file(path: Path) -> tuple[list[Finding], bool]:
    """Check the file *path*. Returns findings, and whether the file can be opened."""
    path = path.resolve()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return [_future_file(path)], False
    except OSError as e:
        return [_inaccessible(path, e)], False
    findings = list(examine_file(path)) if path.is_file() else []
    broken = any(finding.level == "error" and finding.check in {"schema", "integrity"} for finding in findings)
    return findings, not broken


def _inaccessible(path: Path, fault: OSError) -> Finding:
    """Explain why this user can't access the file *path*."""
    path = path.absolute()
    # The outermost folder: if two folders are closed, opening the inner one doesn't help.
    folder = next((each for each in reversed(path.parents) if not os.access(each, os.X_OK)), path.parent)
    return error(
        "permissions",
        f"{path} can't be accessed ({fault.strerror or type(fault).__name__})",
        f"Give this user the right to enter the folder {folder}: chmod u+rwx {shlex.quote(str(folder))}, if this user "
        f"owns it. Or name another file in SESSIONS_STORE or --store",
    )


def _future_file(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if parent.exists())
    if os.access(folder, os.W_OK | os.X_OK):
        return ok("store", "The file doesn't exist yet: the first crawl creates it")
    return error("store", f"The file doesn't exist yet, and this user can't write to {folder}", "Name another file")


async def _content(context: Context, store: SessionStore) -> AsyncIterator[Finding]:
    yield ok("store", "It can be opened and written to" if isinstance(store, SQLiteStore) else "It can be opened")
    now = time.time()
    if isinstance(store, RedisStore):
        async for finding in examine_server(store):
            yield finding
    for finding in await examine_records(context, store):
        yield finding
    yield _quarantine(store, await store.quarantined())
    yield await _clock(context, now)
    expired = len(await store.expired(context.options.namespace, now=now, limit=100_000))
    if expired:
        yield warning(
            "expired",
            f"{count(expired, 'expired session')} in the store",
            "Nothing to do: the next crawl deletes them. To delete them now: scrapy sessions cleanup",
        )
    else:
        yield ok("expired", "No expired sessions in the store")


def _quarantine(store: SessionStore, found: list[tuple[Key, str]]) -> Finding:
    if not found:
        return ok("quarantine", "No record is quarantined")
    named = "; ".join(f"{key.session_id!r} in {key.namespace!r}: {reason}" for key, reason in found[-_NAMED:])
    last = f"the last {_NAMED}: " if len(found) > _NAMED else ""
    remedy = "A new session replaces each of them, and nothing reads them again. Once you know the cause, delete them"
    if isinstance(store, SQLiteStore):
        statements = "PRAGMA secure_delete = ON; DELETE FROM quarantine; PRAGMA wal_checkpoint(TRUNCATE)"
        remedy += f": sqlite3 {shlex.quote(store.location)} '{statements}'"  # for people to run
    verb = "was" if len(found) == 1 else "were"
    text = f"{count(len(found), 'record')} could not be read and {verb} quarantined ({last}{named})"
    return warning("quarantine", text, remedy)


async def _clock(context: Context, now: float) -> Finding:
    """Look for sessions with an activity in the future: they come first in the list."""
    ahead: list[SessionInfo] = []
    async for page in context.pages():
        early = [info for info in page if info["last_activity"] > now + _LEEWAY]
        ahead += early
        if len(early) < len(page):
            break
    if not ahead:
        return ok("clock", "No session was active in the future")
    first = ahead[0]
    return error(
        "clock",
        f"{count(len(ahead), 'session')} {'was' if len(ahead) == 1 else 'were'} last active in the future, "
        f"{first['session_id']!r} in {first['last_activity'] - now:.0f} s: this clock is slow, or another one was fast",
        "Set the clocks of all machines by NTP. Such a session expires too late: delete it, or leave it until a spider "
        "uses it",
    )
