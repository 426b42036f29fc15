"""Worker: picking, cookie header, ``Set-Cookie`` and saving of our sessions, without Scrapy."""

from __future__ import annotations

import gc
from urllib.parse import urlsplit

from serve import Stopwatch, serve

from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings

URL = "https://shop.example/"


class Pool:
    """The commands; all times are microseconds of CPU an operation."""

    async def open(self, file: str, sessions: int, cookies: int) -> None:
        """Fill a pool with *sessions* of as many *cookies*; it picks at random, as the other does."""
        settings = SessionsSettings(
            pools={"bench": {"size": sessions, "strategy": "random"}}, save_interval=3600, cache_size=0
        )
        self._manager = SessionManager(file, namespace="bench", settings=settings)
        await self._manager.open()
        self._sessions = [await registry_of(self._manager).get(f"bench#{i + 1}", pool="bench") for i in range(sessions)]
        headers = [f"c{c}=value-{c}-{'v' * 16}; Path=/; Max-Age=86400; HttpOnly" for c in range(cookies)]
        for session in self._sessions:
            session.jar.store(headers, urlsplit(URL))
        await self._manager.flush()

    async def pick(self, n: int) -> float:
        """Pick a session, ready to be used."""
        manager = self._manager
        gc.collect()
        with Stopwatch() as watch:
            for _ in range(n):
                await registry_of(manager).get(registry_of(manager).pool("bench").pick())
        return watch.cpu / n * 1e6

    async def header(self, n: int) -> float:
        """Work out the cookie header of a URL."""
        jar = self._sessions[0].jar
        urls = [f"{URL}p/{i % 997}?page={i}" for i in range(n)]
        gc.collect()
        with Stopwatch() as watch:
            for url in urls:
                found = jar.header(urlsplit(url))
        if not found:
            raise AssertionError("There are no cookies to send")
        return watch.cpu / n * 1e6

    async def take(self, n: int) -> float:
        """Take in a ``Set-Cookie`` header."""
        jar = self._sessions[0].jar
        answers = [
            (f"{URL}p/{i % 997}?page={i}", f"c{i % 10}=value-{i}-{'w' * 16}; Path=/; Max-Age=86400; HttpOnly")
            for i in range(n)
        ]
        gc.collect()
        with Stopwatch() as watch:
            for url, header in answers:
                jar.store([header], urlsplit(url))
        return watch.cpu / n * 1e6

    async def save(self, n: int, mark: int) -> float:
        """Save the pool when *n* of its sessions have changed; *mark* tells this change from the last."""
        for session in self._sessions[:n]:
            session.jar.store([f"c0=value-{mark}-{'w' * 16}; Path=/; Max-Age=86400; HttpOnly"], urlsplit(URL))
        gc.collect()
        with Stopwatch() as watch:
            await self._manager.flush()
        return watch.cpu / n * 1e6

    async def close(self) -> None:
        """Close the manager."""
        await self._manager.close()


if __name__ == "__main__":
    pool = Pool()
    serve({name: getattr(pool, name) for name in ("open", "pick", "header", "take", "save", "close")})
