"""The storages of a session and of its browser context: ``localStorage``, ``sessionStorage`` and IndexedDB."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from playwright.async_api import BrowserContext, Error, Frame, Page
from pydantic_core import to_json

from scrapy_sessions.browser.state import Databases, Storages, from_origins
from scrapy_sessions.json_limits import fault_of

_V = TypeVar("_V")

PATIENCE = 10.0
"""Seconds that a page may take to return its storage: one whose script never ends doesn't return it."""

# Before the page's own scripts. It runs in each document of the page until it is removed: `activation.from` shows that
# the document before was of this origin, too, whose scripts may have removed a key meanwhile.
_SEED = """(stored => {
    const entries = stored[location.origin];
    if (window !== top || !entries || globalThis.navigation?.activation?.from) return;
    for (const [name, value] of Object.entries(entries))
        try { if (sessionStorage.getItem(name) === null) sessionStorage.setItem(name, value); } catch {}
})(%s)"""
_READ = """() => {
    try {
        return [location.origin, Object.entries(localStorage), Object.entries(sessionStorage)];
    } catch {
        return null;
    }
}"""


def merge_changes(
    base: Mapping[str, _V], browser: Mapping[str, _V], session: Mapping[str, _V], *, session_first: bool = False
) -> dict[str, _V]:
    """Return *session* with what changed from *base* to *browser*, deletions included. Pure.

    :param session_first: whether what changed from *base* to *session*, too, stays as it is in *session*
    """
    merged = dict(session)
    for key in {**base, **browser}:
        if session_first and base.get(key) != session.get(key):
            continue
        if key not in browser:
            merged.pop(key, None)
        elif key not in base or base[key] != browser[key]:
            merged[key] = browser[key]
    return merged


def merge_storages(base: Storages, browser: Storages, session: Storages, *, session_first: bool = False) -> Storages:
    """As :func:`merge_changes`, by origin and key."""
    merged = {
        origin: merge_changes(
            base.get(origin, {}), browser.get(origin, {}), session.get(origin, {}), session_first=session_first
        )
        for origin in {**session, **base, **browser}
    }
    return {origin: entries for origin, entries in merged.items() if entries}


def bounded(
    limit: int, new: Mapping[str, Mapping[str, Any]], old: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return *new*, storages by kind and origin, within *limit*, and what is left out: it stays as it is in *old*.

    What differs from *old* is taken as long as the size of all, as JSON, is at most *limit* bytes; 0: no limit.
    """
    result: dict[str, dict[str, Any]] = {kind: {} for kind in new}
    changed = []
    size = 0
    for kind, each in new.items():
        for origin, content in each.items():
            if old[kind].get(origin) == content:
                result[kind][origin] = content
                size += len(to_json(content))
            else:
                changed.append((kind, origin, content))
    left_out = []
    for kind, origin, content in changed:
        added = len(to_json(content)) if fault_of(content) is None else None
        if added is not None and (not limit or size + added <= limit):
            result[kind][origin] = content
            size += added
            continue
        left_out.append(f"{kind} of {origin}")
        if origin in old[kind]:
            result[kind][origin] = old[kind][origin]
    return result, left_out


def _texts(entries: Mapping[str, str]) -> dict[str, str]:
    """Return those of *entries* that are text: a page may store half a character."""
    return {name: value for name, value in entries.items() if fault_of({name: value}) is None}


async def set_storages(context: BrowserContext, origins: list[Any]) -> list[Any]:
    """Put *origins*, those of a storage state, into *context*, and return those that it accepts.

    The context loses its cookies.
    """
    try:
        await context.set_storage_state({"cookies": [], "origins": origins})
    except Error:
        if len(origins) == 1:
            return []
        good = [each for origin in origins for each in await set_storages(context, [origin])]
        if len(good) == len(origins):
            raise
        return await set_storages(context, good) if good else []
    return origins


async def read_storages(context: BrowserContext) -> tuple[Storages, Databases | None]:
    """Return local storage and IndexedDB of *context*; ``None`` for databases that Playwright can't read."""
    try:
        state = await context.storage_state(indexed_db=True)
    except Error:  # or the context is closed: then the next call raises, too
        state = await context.storage_state()
        databases: Databases | None = None
    else:
        databases = from_origins(state["origins"])[1]
    return {origin: _texts(each) for origin, each in from_origins(state["origins"])[0].items()}, databases


class PageStorages:
    """The ``sessionStorage`` of each page, merged by key into that of the session.

    :param current: returns the session's
    """

    # No slots: Playwright adds an attribute to the object of a method that handles its events.

    def __init__(self, current: Callable[[], Storages]) -> None:
        self._current = current
        self._seeds: WeakKeyDictionary[Page, Storages] = WeakKeyDictionary()

    async def seed(self, page: Page) -> None:
        """Let *page*, which is new, begin with the session's ``sessionStorage``.

        A page that another page opened is left alone: it gets a copy of that one's.
        """
        if page in self._seeds or page.url != "about:blank" or await page.opener() is not None:
            return
        stored = self._seeds[page] = {origin: dict(entries) for origin, entries in self._current().items()}
        if not stored:
            return
        pending = dict(stored)
        one_by_one = asyncio.Lock()
        try:
            # In one call, which is sent at once: before the navigation of whoever waits for the new page.
            script = await page.add_init_script(_SEED % json.dumps(pending))
        except Error:  # the page is closed again
            return

        async def arrived(frame: Frame) -> None:
            nonlocal script
            if frame != page.main_frame or pending.pop(origin_of_page(frame.url), None) is None:
                return
            async with one_by_one:
                with suppress(Error):
                    await script.close()
                    if pending:
                        script = await page.add_init_script(_SEED % json.dumps(pending))

        page.on("framenavigated", arrived)

    async def read(self, page: Page) -> tuple[str, dict[str, str], dict[str, str], dict[str, str]] | None:
        """Return the origin that *page* shows, its ``localStorage``, and the ``sessionStorage`` it began with and has.

        ``None``: it shows no origin, or doesn't answer.
        """
        try:
            found = await asyncio.wait_for(page.evaluate(_READ), PATIENCE)
        except (Error, asyncio.TimeoutError):
            return None
        if found is None:
            return None
        origin, local, entries = found
        seeds = self._seeds.setdefault(page, {})
        before, now = seeds.get(origin, {}), _texts(dict(entries))
        seeds[origin] = now
        return origin, _texts(dict(local)), before, now


def origin_of_page(url: str) -> str:
    """Return the origin of *url*, which a browser has written."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
