"""What ``scrapy sessions doctor`` looks at. Nothing here changes a store, but for what opening it does."""

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

from scrapy_sessions.commands.diagnosis.findings import Finding, ok, warning, wrong
from scrapy_sessions.commands.diagnosis.sqlite_file import examine_file
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.models import SessionInfo
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore, SessionStore, SQLiteStore

__all__ = ["examine"]

_ASYNCIO_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
_OTHER_PACKAGE = "scrapy-sessions"
_LEEWAY = 60.0  # seconds that the clocks of two machines may differ by
_PAGE = 500
_NAMED = 5  # records set aside that are named


async def examine(context: Context) -> AsyncIterator[Finding]:
    """Check everything, in the order in which one thing depends on the other."""
    for finding in (*_packages(), *_settings(context)):
        yield finding
    try:
        store = context.store
    except (SessionError, CommandError) as e:
        yield wrong("store", str(e), "Correct SESSIONS_STORE or --store")
        return
    except OSError as e:  # whether it is a folder can't be seen
        yield _closed(Path(e.filename or context.options.store or "."), e)
        return
    yield ok("store", f"The store is {store.location}")
    if isinstance(store, MemoryStore):
        yield warning("store", "It ends with its process: no session outlives a run", "Set SESSIONS_STORE to sqlite://")
        return
    if isinstance(store, SQLiteStore):
        findings, usable = _file(Path(store.location))
        for finding in findings:
            yield finding
        if not usable:
            return
    try:
        await store.open()
    except SessionError as e:
        yield wrong("store", "It can't be opened", str(e))
        return
    try:
        async for finding in _content(context, store):
            yield finding
    except SessionError as e:
        yield wrong("store", "It can't be read", str(e))
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
        yield wrong(
            "packages",
            f"The package {_OTHER_PACKAGE} is installed too, and installs into the same folder, scrapy_sessions",
            f"python -m pip uninstall {_OTHER_PACKAGE}, then "
            f"python -m pip install --force-reinstall --no-deps scrapy-persistent-sessions",
        )


def _settings(context: Context) -> Iterator[Finding]:
    settings = context.settings
    try:
        values = SessionsSettings.from_settings(settings)
    except SessionError as e:
        yield wrong(
            "settings", str(e), "Correct them: no crawl starts with them. scrapy sessions settings shows the others"
        )
    else:
        yield ok("settings", "All SESSIONS_* settings are valid")
        if not values.enabled:
            yield warning("settings", "SESSIONS_ENABLED is false: spiders use no sessions", "Set it to True")
    if inside_project() and not _is_set_up(settings):
        yield warning(
            "set-up",
            "Nothing of scrapy_sessions is in ADDONS or EXTENSIONS of this project",
            'ADDONS = {"scrapy_sessions.SessionsAddon": 300} in its settings.py sets it up',
        )
    reactor = settings["TWISTED_REACTOR"]
    if reactor == _ASYNCIO_REACTOR or not settings.getbool("TWISTED_REACTOR_ENABLED", True):
        yield ok("asyncio", "Spiders run on asyncio")
    else:
        yield wrong(
            "asyncio",
            f"Sessions need Scrapy's asyncio reactor, and TWISTED_REACTOR is {reactor!r}",
            f"Remove TWISTED_REACTOR from the settings, or set it to {_ASYNCIO_REACTOR!r}",
        )


def _is_set_up(settings: scrapy.settings.BaseSettings) -> bool:
    names = [*settings.getdict("ADDONS"), *settings.getdict("EXTENSIONS")]
    return any("scrapy_sessions." in (name if isinstance(name, str) else f"{name.__module__}.") for name in names)


def _file(path: Path) -> tuple[list[Finding], bool]:
    """Return what is to be said of the file *path*, and whether it makes sense to open it."""
    path = path.resolve()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return [_future_file(path)], False
    except OSError as e:
        return [_closed(path, e)], False
    findings = list(examine_file(path)) if path.is_file() else []
    broken = any(finding.level == "wrong" and finding.check in {"schema", "integrity"} for finding in findings)
    return findings, not broken


def _closed(path: Path, error: OSError) -> Finding:
    """Say what keeps this user from the file *path*."""
    path = path.absolute()
    # From the root on: of two closed folders, the remedy for the inner one alone doesn't help.
    folder = next((each for each in reversed(path.parents) if not os.access(each, os.X_OK)), path.parent)
    return wrong(
        "permissions",
        f"{path} can't be looked at ({error.strerror or type(error).__name__})",
        f"Give this user the right to enter the folder {folder}: chmod u+rwx {shlex.quote(str(folder))}, if it is its "
        f"own. Or name another file in SESSIONS_STORE or --store",
    )


def _future_file(path: Path) -> Finding:
    folder = next(parent for parent in path.parents if parent.exists())
    if os.access(folder, os.W_OK | os.X_OK):
        return ok("store", "There is no file yet: the first crawl makes it")
    return wrong("store", f"There is no file yet, and this user may not write to {folder}", "Name another file")


async def _content(context: Context, store: SessionStore) -> AsyncIterator[Finding]:
    yield ok("store", "It can be opened and written to" if isinstance(store, SQLiteStore) else "It can be opened")
    now = time.time()
    yield _set_aside(store, [(key.session_id, key.namespace, reason) for key, reason in await store.quarantined()])
    yield ok(
        "protection",
        "This version has no encryption key: records stand in the store as plain JSON. What protects them are the "
        "permissions above and, if you have it, an encrypted disk; keep backups and exports just as safe",
    )
    yield await _clock(context, store, now)
    expired = len(await store.expired(context.options.namespace, now=now, limit=100_000))
    if expired:
        text = f"{expired} expired session{' waits' if expired == 1 else 's wait'} for the next crawl to remove them"
        yield warning("expired", text, "Nothing to do, or at once: scrapy sessions cleanup")
    else:
        yield ok("expired", "No expired session waits to be removed")


def _set_aside(store: SessionStore, found: list[tuple[str, str, str]]) -> Finding:
    if not found:
        return ok("quarantine", "No record was set aside")
    named = "; ".join(f"{session_id!r} in {namespace!r}: {reason}" for session_id, namespace, reason in found[-_NAMED:])
    more = f" (the last {_NAMED}: {named})" if len(found) > _NAMED else f" ({named})"
    remedy = "Their sessions begin anew, and nothing reads them again. Once you know why they couldn't be read"
    if isinstance(store, SQLiteStore):
        remedy += f": sqlite3 {store.location} 'DELETE FROM quarantine'"  # noqa: S608  # for people to run
    else:
        remedy += ", delete them from the store"
    n = len(found)
    return warning("quarantine", f"{n} record{'' if n == 1 else 's'} could not be read and set aside{more}", remedy)


async def _clock(context: Context, store: SessionStore, now: float) -> Finding:
    """Look for sessions that come from the future: they stand first in the list, which goes by activity."""
    ahead: list[SessionInfo] = []
    while True:
        page = await store.list(
            now=now, namespace=context.options.namespace, limit=_PAGE, after=ahead[-1] if ahead else None
        )
        early = [info for info in page if info["last_activity"] > now + _LEEWAY]
        ahead += early
        if len(early) < _PAGE:
            break
    if not ahead:
        return ok("clock", "No session comes from the future")
    first = ahead[0]
    return wrong(
        "clock",
        f"{len(ahead)} session{' was' if len(ahead) == 1 else 's were'} last active in the future, "
        f"{first['session_id']!r} in {first['last_activity'] - now:.0f} s: this clock is behind, or another was ahead",
        "Set the clocks of all machines by NTP. Such a session expires too late: delete it, or leave it to its use",
    )
