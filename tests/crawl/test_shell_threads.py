"""What the shell needs of its two threads: changes from outside the loop's thread, and an end that waits for it."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler

from scrapy_sessions import SessionError, SessionManager
from scrapy_sessions.crawl import shell
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore
from tests.support.crawl import PLAIN
from tests.support.waiting import HANG


class Extension(SessionsExtension):
    """One whose ``close()`` does as its test says, in place of what it does."""

    closed_in: int | None = None
    fault: BaseException | None = None

    async def close(self) -> None:
        self.closed_in = threading.get_ident()
        if isinstance(self.fault, TimeoutError):
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def extension() -> Extension:
    return Extension(Crawler(Spider, {**PLAIN, "SESSIONS_STORE": "memory://"}))


@pytest.mark.parametrize("change", ["cookies", "data"])
async def test_change_in_another_thread_is_saved_by_itself(change: str) -> None:
    """A session that another thread changes is saved within the interval, as one that the loop's thread changes."""
    saved = asyncio.Event()

    class Store(MemoryStore):
        async def save(self, rows):  # type: ignore[no-untyped-def]
            outcomes = await super().save(rows)
            saved.set()
            return outcomes

    store = Store()
    async with SessionManager(store=store, namespace="shop", settings=SessionsSettings(save_interval=0.01)) as manager:
        session = await manager.get("alice")

        def work() -> None:
            if change == "cookies":
                session.cookies.set("sid", "1", domain="shop.example")
            else:
                session.data["sid"] = "1"

        await asyncio.to_thread(work)
        await asyncio.wait_for(saved.wait(), HANG)
        row = await store.load(Key("shop", "alice"))
        assert row is not None
        assert b'"sid"' in row.body


async def test_end_waits_for_the_extension(extension: Extension) -> None:
    """The end of the shell closes the extension in its loop, and returns when that is done."""
    await asyncio.to_thread(shell._close, weakref.WeakMethod(extension.close), asyncio.get_running_loop())
    assert extension.closed_in == threading.get_ident()


@pytest.mark.parametrize(
    ("fault", "seconds", "said"),
    [
        (TimeoutError(), 0.01, "didn't answer within 0.01 seconds"),
        (RuntimeError("no disk"), HANG, "could not be closed"),
    ],
)
async def test_end_of_a_store_that_fails(
    extension: Extension,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    seconds: float,
    said: str,
) -> None:
    """A store that doesn't answer, or fails, is told of, and doesn't keep the shell from ending."""
    monkeypatch.setattr(shell, "_LAST_SAVE", seconds)
    extension.fault = fault
    await asyncio.to_thread(shell._close, weakref.WeakMethod(extension.close), asyncio.get_running_loop())
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.ERROR
    assert said in message


def test_end_without_a_loop(extension: Extension) -> None:
    """With a loop that has stopped, or an extension that is gone, there is nothing to do."""
    loop = asyncio.new_event_loop()
    shell._close(weakref.WeakMethod(extension.close), loop)
    loop.close()
    shell._close(weakref.WeakMethod(extension.close), loop)
    assert extension.closed_in is None


async def test_run_is_refused_in_the_thread_of_the_crawl(extension: Extension) -> None:
    """``sessions.run()`` in a callback, which would wait for itself, says what to do instead."""
    sessions = shell.ShellSessions(extension.router, extension.save)
    with pytest.raises(SessionError, match="use await"):
        sessions.run(sessions.get("alice"))
