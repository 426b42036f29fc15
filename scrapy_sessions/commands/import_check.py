"""``scrapy sessions import --check URL``: one request in the imported session shows whether its login works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response, TextResponse

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.crawl.checked_sites import rest_of
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.storage import SQLiteStore

_PASSWORD = "//input[translate(@type, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') = 'password']"  # noqa: S105
# One request and its redirects, which are checked here. The config of the project is not used, as it would log in.
_SETTINGS: dict[str, Any] = {
    "SESSIONS_ENABLED": True,
    "SESSIONS_CONFIG": None,
    "SESSIONS_EXPIRED_STATUSES": [],
    "SESSIONS_SUSPECT_STATUSES": [],
    "SESSIONS_BLOCKED_STATUSES": [],
    "SPIDER_MODULES": [],
    "HTTPERROR_ALLOW_ALL": True,
    "HTTPCACHE_ENABLED": False,
    "RETRY_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
}
_ADDON = "scrapy_sessions.SessionsAddon"


class _CheckSpider(Spider):
    name = "check"

    # Set by Spider.__init__() from its arguments.
    url: str
    session_id: str
    verdict: list[str]

    async def start(self) -> AsyncIterator[Any]:
        session = await SessionRouter.of(self.crawler).registry.get(self.session_id)
        if rest := rest_of(session):
            self.verdict.append(f"it was not asked for{rest}")
            return
        yield Request(
            self.url,
            callback=self._report,
            errback=lambda failure: self.verdict.append(f"no answer ({type(failure.value).__name__})"),
            meta={"session_id": self.session_id},
            dont_filter=True,
        )

    def _report(self, response: Response) -> None:
        verdict = f"{response.status} at {safe_url(response.url)}"
        if isinstance(response, TextResponse) and response.xpath(_PASSWORD):
            verdict += ", with a password field"
        self.verdict.append(verdict)


def check_login(context: Context, url: str, *, namespace: str, session_id: str) -> int:
    """Fetch *url* once in the session, save what that changes, and return the exit code: 0 if the login works.

    It works if the final status is 2xx and the page has no password field. No event loop may be running.
    """
    settings = context.settings.copy()
    settings.setdict(_SETTINGS, priority="cmdline")
    store = context.store
    where = f"sqlite:///{Path(store.location).resolve()}" if isinstance(store, SQLiteStore) else context.options.store
    if where is not None:
        settings.set("SESSIONS_STORE", where, priority="cmdline")
    settings.set("SESSIONS_NAMESPACE", namespace, priority="cmdline")
    settings.set("ADDONS", {**settings.getdict("ADDONS"), _ADDON: 300}, priority="cmdline")
    verdict: list[str] = []
    process = CrawlerProcess(settings)
    process.crawl(_CheckSpider, url=url, session_id=session_id, verdict=verdict)
    process.start()
    found = verdict[0] if verdict else "the crawl failed to start"
    works = found[:1] == "2" and "password" not in found
    if found.startswith("it was not asked for"):
        context.note(f"The login was not checked: {found.replace('it', safe_url(url), 1)}")
    elif works:
        context.write(f"The login works: {found}")
    else:
        context.note(f"The login doesn't work: {found}")
    return 0 if works else 1
