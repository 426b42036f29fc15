"""What a session needs while its browser window is open."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from scrapy_sessions import PersistentSession, SessionConfig, SessionError
from scrapy_sessions.commands.support import window
from scrapy_sessions.commands.support.arguments import subcommand
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.crawl.blame import Answer
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.command_line import fill
from tests.support.waiting import HANG


def test_it_does_not_expire(tmp_path: Path) -> None:
    """While the window is open, the session counts as used, again and again; one that is deleted stays so."""
    now = time.time()
    file = tmp_path / "s.db"
    fill(
        file, PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now, idle_timeout=6)
    )
    options = subcommand("open").parse_args(["alice", "--store", str(file)])
    options.namespace = None

    async def last_used(context: Context) -> float | None:
        async with context.manager_of("shop") as manager:
            record = await manager.load_session("alice")
            return None if record is None else record.last_activity

    async def use() -> None:
        context = Context(options, Settings())
        await context.open()
        async with context.manager_of("shop") as manager:
            session = await registry_of(manager).detached("alice", "shop")
            async with window.kept_alive(context, "shop", session):
                until = time.monotonic() + HANG
                while (used := await last_used(context)) is not None and used <= now and time.monotonic() < until:
                    await asyncio.sleep(0.1)
            assert used is not None
            assert used > now
            assert session.last_activity > now
            await manager.delete_session("alice")
            await window.keep_alive(context, "shop", "alice")
            assert await last_used(context) is None
        await context.close()

    asyncio.run(use())


class Silent:
    """A browser, its context and a page, of which nothing ever answers."""

    async def new_page(self) -> Any:
        await asyncio.get_running_loop().create_future()

    new_context = evaluate = close = new_page


async def test_a_browser_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a context, reading what sites see of the browser, and asking the site each have a time limit."""
    pytest.importorskip("playwright", reason="the package playwright is not installed")
    from scrapy_sessions.browser import launch, loss  # noqa: PLC0415  # not everybody has Playwright
    from scrapy_sessions.commands.support import proof  # noqa: PLC0415  # as above

    for module in (launch, loss, proof):
        monkeypatch.setattr(module, "PATIENCE", 0.1)
    silent: Any = Silent()
    config = SessionConfig(get_crawler(Spider))
    config.probe_url = "https://shop.example/account"
    alice = SessionRuntime("alice")
    with pytest.raises(loss.Lost, match="no answer"):
        await asyncio.wait_for(launch.looks_of(silent), HANG)
    with pytest.raises(SessionError, match=r"can't be used as the session: no answer in 0\.1 s"):
        await asyncio.wait_for(window.opened(alice, silent), HANG)
    answer, what = await asyncio.wait_for(proof.ask(silent, alice, config), HANG)
    assert (answer, what) == (Answer.NOTHING, "https://shop.example/account has no answer")
