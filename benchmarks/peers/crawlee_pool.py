"""Worker: the same of crawlee's ``SessionPool``, in whose environment it runs."""

from __future__ import annotations

import gc
import time
from contextlib import AsyncExitStack
from datetime import timedelta

from crawlee import service_locator
from crawlee.configuration import Configuration
from crawlee.events import Event, EventPersistStateData, LocalEventManager
from crawlee.sessions import SessionPool
from crawlee.storage_clients import FileSystemStorageClient
from serve import Stopwatch, serve

URL = "https://shop.example/"


class Pool:
    """The commands; all times are microseconds of CPU an operation."""

    async def open(self, file: str, sessions: int, cookies: int) -> None:
        """Fill a pool with *sessions* of as many *cookies*, kept in a folder beside *file*."""
        service_locator.set_configuration(Configuration(storage_dir=f"{file}.d"))
        service_locator.set_storage_client(FileSystemStorageClient())
        # Its state is persisted when the measure says so.
        self._events = LocalEventManager(
            persist_state_interval=timedelta(hours=10), system_info_interval=timedelta(hours=10)
        )
        self._stack = AsyncExitStack()
        self._pool = SessionPool(
            max_pool_size=sessions,
            create_session_settings={"max_usage_count": 1_000_000, "max_age": timedelta(days=1)},
            event_manager=self._events,
            persistence_enabled=True,
        )
        await self._stack.enter_async_context(self._events)
        await self._stack.enter_async_context(self._pool)
        self._sessions = list(self._pool.get_state(as_dict=False).sessions)
        self._first = await self._pool.get_session_by_id(self._sessions[0])
        for session_id in self._sessions if cookies else ():
            session = await self._pool.get_session_by_id(session_id)
            for c in range(cookies):
                _set(session, f"c{c}", f"value-{c}-{'v' * 16}")

    async def pick(self, n: int) -> float:
        """Pick a session, ready to be used."""
        gc.collect()
        with Stopwatch() as watch:
            for _ in range(n):
                await self._pool.get_session()
        return watch.cpu / n * 1e6

    async def header(self, n: int) -> float:
        """Work out the cookie header of a URL."""
        jar = self._first.cookies
        urls = [f"{URL}p/{i % 997}?page={i}" for i in range(n)]
        gc.collect()
        with Stopwatch() as watch:
            for url in urls:
                found = jar.get_cookie_string(url)
        if not found:
            raise AssertionError("There are no cookies to send")
        return watch.cpu / n * 1e6

    async def take(self, n: int) -> float:
        """Take in a ``Set-Cookie`` header."""
        jar = self._first.cookies
        answers = [
            (f"{URL}p/{i % 997}?page={i}", f"c{i % 10}=value-{i}-{'w' * 16}; Path=/; Max-Age=86400; HttpOnly")
            for i in range(n)
        ]
        gc.collect()
        with Stopwatch() as watch:
            for url, header in answers:
                jar.extract_cookies_from_headers(url, [header])
        return watch.cpu / n * 1e6

    async def save(self, n: int, mark: int) -> float:
        """Save the pool, which it does as a whole, when *n* of its sessions have changed."""
        for session_id in self._sessions[:n]:
            _set(await self._pool.get_session_by_id(session_id), "c0", f"value-{mark}-{'w' * 16}")
        gc.collect()
        with Stopwatch() as watch:
            self._events.emit(event=Event.PERSIST_STATE, event_data=EventPersistStateData(is_migrating=False))
            await self._events.wait_for_all_listeners_to_complete()
        return watch.cpu / n * 1e6

    async def close(self) -> None:
        """Close the pool."""
        await self._stack.aclose()


def _set(session: object, name: str, value: str) -> None:
    session.cookies.set(name, value, domain="shop.example", expires=int(time.time()) + 86400, http_only=True)


if __name__ == "__main__":
    pool = Pool()
    serve({name: getattr(pool, name) for name in ("open", "pick", "header", "take", "save", "close")})
