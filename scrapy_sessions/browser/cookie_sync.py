"""The cookies of a session and of its browser context: what changes on one side is copied to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from playwright.async_api import BrowserContext, Error

from scrapy_sessions.browser.state import from_playwright, to_playwright
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.stored import Identity, StoredCookie
from scrapy_sessions.models import Cookie

_LONG_AGO = 1  # an expiry with which the browser deletes a cookie; 0 isn't accepted


class CookieSync:
    """Copies cookies between *jar* and *context*.

    Each side is compared with itself, as it was before: not with the other, because a browser returns some cookies
    changed (an absent SameSite as ``"Lax"``, an expiry at most 400 days ahead) and leaves others out. A cookie that
    changed on both sides gets the browser's value, unless it changed in the jar while the browser was being read.

    :param allowed: whether the jar may be changed
    """

    __slots__ = ("_allowed", "_context", "_in_browser", "_in_jar", "_jar", "_lock", "_pull", "_version")

    def __init__(
        self, jar: SessionCookieJar, context: BrowserContext, *, allowed: Callable[[], bool] = lambda: True
    ) -> None:
        self._allowed = allowed
        self._jar = jar
        self._context = context
        self._in_jar: dict[Identity, Cookie] = {}
        self._in_browser: dict[Identity, dict[str, Any]] = {}
        self._version: int | None = None  # of the jar, when nothing in it was still to be copied
        self._lock = asyncio.Lock()
        self._pull: asyncio.Task[None] | None = None  # one that hasn't begun to read

    async def push(self) -> list[str]:
        """Copy what changed in the jar into the browser. Returns the names of the cookies that the browser refuses."""
        if self._jar.version == self._version:
            return []
        async with self._lock:
            return await self._copy_to_browser()

    async def pull(self) -> None:
        """Copy what changed in the browser into the jar. Cookies that the jar refuses are counted there.

        Calls at once read the browser once: with eight pages that takes it a hundred times as long as with one.
        """
        if self._pull is None:
            self._pull = asyncio.ensure_future(self._copy_to_jar())
            self._pull.add_done_callback(_retrieve)
        await asyncio.shield(self._pull)

    async def _copy_to_browser(self) -> list[str]:
        version = self._jar.version
        present = _by_identity(self._jar.dump())
        changed = {key: to_playwright(each) for key, each in present.items() if _differs(self._in_jar.get(key), each)}
        for key in self._in_jar.keys() - present.keys():
            if key in self._in_browser:
                changed[key] = {**self._in_browser[key], "expires": _LONG_AGO}
        before, self._in_jar = self._in_jar, present
        if not changed:
            self._version = version
            return []
        try:
            refused = await self._add(list(changed.values()))
        except BaseException:  # cancelled, or the browser is gone: they are copied the next time
            self._version = None
            for key in changed:
                if key in before:
                    self._in_jar[key] = before[key]
                else:
                    self._in_jar.pop(key, None)
            raise
        self._version = version  # not before: a push that comes meanwhile waits for this one
        read = await self._read()
        for key, sent in changed.items():  # of the others, what the browser changed meanwhile is still to be copied
            if key not in read:
                self._in_browser.pop(key, None)
            elif sent in refused or _is_as_sent(read[key], sent):
                self._in_browser[key] = read[key]
            else:  # the site has set it since: that is still to be copied, too
                self._in_browser[key] = sent
        return [each["name"] for each in refused]

    async def _copy_to_jar(self) -> None:
        async with self._lock:
            self._pull = None  # who comes later needs a reading of his own
            version, held = self._jar.version, _by_identity(self._jar.dump())
            read = await self._read()
            if self._allowed():
                self._take(read, held if version != self._jar.version else None)

    def _take(self, read: dict[Identity, dict[str, Any]], held_before: dict[Identity, Cookie] | None) -> None:
        """Copy what changed in the browser, as it was *read*, into the jar.

        :param held_before: what the jar had before the reading; ``None``: what it has now
        """
        before, self._in_browser = self._in_browser, read
        changed = [key for key, fields in read.items() if fields != before.get(key)]
        # A cookie that is gone was deleted; those that have expired by now, the jar drops itself.
        gone = [key for key in before if key not in read]
        if not (changed or gone):
            return
        is_copied = self._jar.version == self._version
        held = _by_identity(self._jar.dump())
        if held_before is not None:  # what an HTTP response has set or deleted meanwhile is newer
            changed = [key for key in changed if _is_same(held_before.get(key), held.get(key))]
            gone = [key for key in gone if _is_same(held_before.get(key), held.get(key))]
        cookies = [_as_set(from_playwright(read[key]), held.get(key)) for key in changed]
        deleted = [held[key].model_copy(update={"expires": 0.0}) for key in gone if key in held]
        self._jar.update([*cookies, *deleted])
        present = _by_identity(self._jar.dump())
        for key in (*changed, *gone):
            if key in present:
                self._in_jar[key] = present[key]
            else:
                self._in_jar.pop(key, None)
        if is_copied:
            self._version = self._jar.version

    async def _read(self) -> dict[Identity, dict[str, Any]]:
        cookies: Sequence[Any] = await self._context.cookies()
        return {StoredCookie.of(from_playwright(each)).identity: each for each in cookies}

    async def _add(self, cookies: list[Any]) -> list[Any]:
        """Set *cookies* in the browser, and return those that it refuses: with one of them it refuses all."""
        try:
            await self._context.add_cookies(cookies)
        except Error:
            if len(cookies) == 1:
                return cookies
            middle = len(cookies) // 2
            return [*await self._add(cookies[:middle]), *await self._add(cookies[middle:])]
        return []


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # all that waited for it may have been cancelled


def _by_identity(cookies: Iterable[Cookie]) -> dict[Identity, Cookie]:
    return {StoredCookie.of(each).identity: each for each in cookies}


def _differs(old: Cookie | None, new: Cookie) -> bool:
    return old is None or not StoredCookie.of(new).same_content(StoredCookie.of(old))


def _is_same(old: Cookie | None, new: Cookie | None) -> bool:
    return old is new if old is None or new is None else not _differs(old, new)


def _is_as_sent(read: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Whether *read* is the cookie *sent* to the browser, which may have shortened its expiry."""
    now: float = read["expires"]
    then: float = sent["expires"]
    same_value: bool = read["value"] == sent["value"]
    return same_value and (now == -1) == (then == -1) and now <= then + 1  # it may be rounded


def _as_set(cookie: Cookie, held: Cookie | None) -> Cookie:
    """Return *cookie* of the browser without the SameSite that the browser added, where that is known."""
    if held is not None and held.same_site is None and cookie.same_site == "Lax":
        return cookie.model_copy(update={"same_site": None})
    return cookie
