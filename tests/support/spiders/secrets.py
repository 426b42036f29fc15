"""A spider that has secrets of every kind, and shows all it has to the log."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.sessions.browser_session import runtime_of
from tests.support.spiders.base import SiteSpider

__all__ = ["SECRETS", "Talkative"]

SECRETS = {
    "seed": "s3ed-of-the-spider",
    "edit": "edit-of-the-spider",
    "bearer": "t0ken-of-the-api",
    "proxy": "pr0xy-pass",
    "refused": "refused-c00kie",
}


class Talkative(SiteSpider):
    """Visits ``urls``; then logs the repr of whatever the package hands out, and every error that it can get."""

    name = "talkative"
    urls: Any
    dead: str

    async def start(self) -> AsyncIterator[Any]:
        self.alice = alice = await self.sessions.get("alice")
        alice.headers.set("Authorization", f"Bearer {SECRETS['bearer']}", url=self.urls[0])
        alice.cookies.set("edit", SECRETS["edit"], domain="127.0.0.1")
        alice.cookies.set("edit", SECRETS["edit"] + "2", domain="127.0.0.1", path="/other")
        await alice.fetch(Request(self.urls[0]))  # the site's cookie is there before the other requests leave
        for url in self.urls:
            yield Request(
                url, self.look, errback=self.failed, cookies={"seed": SECRETS["seed"]}, meta={"session_id": "alice"}
            )
        dead = {"session_id": "bob", "session_profile": "dead"}
        yield Request(self.dead, self.look, errback=self.failed, meta=dead, dont_filter=True)
        foreign: Any = [{"name": "foreign", "value": SECRETS["refused"], "domain": "evil.test"}]
        yield Request(self.urls[0], self.look, cookies=foreign, meta={"session_id": "alice"}, dont_filter=True)

    def failed(self, failure: Any) -> Any:
        self.logger.error("failed: %r", failure)
        self.logger.error("%s", failure.getTraceback())

    def look(self, response: Response) -> None:
        extension = self.crawler.get_extension(SessionsExtension)
        assert extension is not None
        alice = self.alice
        record = alice.snapshot()
        assert response.request is not None
        shown = [alice, alice.cookies, alice.headers, list(alice.cookies), record, record.cookies, record.metrics]
        shown += [extension, extension.manager, extension.settings, extension.settings.profiles, extension.store]
        shown += [response, response.request, response.meta, dict(response.request.headers), self.sessions]
        shown += [
            extension.router,
            extension.router.in_flight,
            extension.router.in_flight.get(response.request),
            record.cookies[0],
        ]
        for each in shown:
            self.logger.info("repr: %r", each)
            self.logger.info("text: %s", each)
        secret = SECRETS["refused"]
        for attempt in (
            lambda: alice.cookies["edit"],
            lambda: alice.cookies.set("bad", secret + "\n", domain="127.0.0.1"),
            lambda: alice.cookies.set("bad", secret, domain=".co.uk"),
            lambda: alice.cookies.set("bad", secret, domain="127.0.0.1", expires="soon"),  # type: ignore[arg-type]
            lambda: alice.cookies.__setitem__("bad", secret),
            lambda: alice.headers.set("X-Bad", secret + "\n", url=response.url),
            lambda: runtime_of(alice).restore(
                record.model_validate({**record.model_dump(), "proxy": [secret], "cookies": secret})
            ),
            lambda: type(extension.settings)(profiles={"p": {"proxy": [secret], "headers": {"Cookie": secret}}}),
        ):
            self.attempt(attempt)

    def attempt(self, attempt: Callable[[], Any]) -> None:
        try:
            attempt()
        except Exception:  # noqa: BLE001
            self.logger.info("refused: %s", traceback.format_exc())
        else:
            self.logger.error("not refused")
