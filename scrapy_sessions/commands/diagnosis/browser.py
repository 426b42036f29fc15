"""The check of user agents: whether they are those of the browser that sessions are opened in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from scrapy_sessions.commands.diagnosis.findings import Finding, ok, warning
from scrapy_sessions.commands.support.text import count

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

_CHROMIUM = re.compile(r"\bChrome/(\d+)")
_NAMED = 5  # sessions that are named
_PATIENCE = 30.0  # seconds for the browser to print its version


async def examine_agents(settings: BaseSettings, agents: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Compare *agents*, sessions by user agent, with the installed Chromium; nothing is found without Playwright."""
    versions = {agent: found[1] for agent in agents if (found := _CHROMIUM.search(agent))}
    if not versions or find_spec("playwright") is None:
        return []
    browser = await _browser(settings)
    installed = None if browser is None else await _version(browser)
    if installed is None:
        return []
    others = [
        f"{session} (Chrome {version})"
        for agent, version in versions.items()
        if version != installed
        for session in agents[agent]
    ]
    if not others:
        return [ok("agents", f"The agents of all sessions fit the installed browser, version {installed} ({browser})")]
    last = f", the first {_NAMED}" if len(others) > _NAMED else ""
    text = (
        f"{count(len(others), 'session')} with the agent of another browser version than the installed {installed} "
        f"({browser}){last}: {', '.join(others[:_NAMED])}"
    )
    advice = "A site can distinguish such a session from that browser: give its profile the new agent"
    return [warning("agents", text, advice)]


async def _browser(settings: BaseSettings) -> str | None:
    """Return the path of the Chromium that scrapy-playwright launches, else of an installed one, if there is any."""
    if settings.get("PLAYWRIGHT_BROWSER_TYPE", "chromium") != "chromium" or settings.get("PLAYWRIGHT_CDP_URL"):
        return None
    from playwright.async_api import async_playwright  # noqa: PLC0415  # an extra

    from scrapy_sessions.browser.launch import executable  # noqa: PLC0415  # likewise

    async with async_playwright() as playwright:
        return executable(playwright.chromium, settings.getdict("PLAYWRIGHT_LAUNCH_OPTIONS"))


async def _version(browser: str) -> str | None:
    """Return the major version of *browser*, ``None`` if it reports none."""
    with suppress(OSError, asyncio.TimeoutError):
        process = await asyncio.create_subprocess_exec(
            browser, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()
            raise
        found = re.search(rb"\b(\d+)\.\d", output)
        return found[1].decode() if found else None
    return None
