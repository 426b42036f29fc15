"""A spider that uses its session API as the scene says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionError
from scrapy_sessions.crawl.facade import SpiderSessions
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of

__all__ = ["Playing"]

ALICE = {"session_id": "alice"}


class Playing(Spider):
    """Gets a page in alice's session, then does what the method *scene* does, in the callback."""

    name = "playing"
    handle_httpstatus_all = True
    sessions: SpiderSessions
    scene: str
    site: str

    async def start(self) -> AsyncIterator[Any]:
        meta = {"session_id": None} if self.scene == "of_nobody" else ALICE
        if self.scene not in {"config_pool", "look"}:
            yield self.ask("p", meta, getattr(self, self.scene))
        else:
            async for item in getattr(self, self.scene)():
                yield item

    def ask(self, path: str, meta: dict[str, Any], callback: Any = None, **options: Any) -> Request:
        return Request(self.site + path, callback or self.done, meta=dict(meta), dont_filter=True, **options)

    def done(self, response: Response) -> None:
        """Nothing more is to be done."""

    async def get(self, path: str, meta: dict[str, Any]) -> str:
        """Get a page as a request with *meta* would, and return in which session."""
        assert self.crawler.engine is not None
        response = await self.crawler.engine.download_async(self.ask(path, meta))
        return str(response.meta["session_id"])

    async def error(self, awaitable: Any) -> str:
        try:
            await awaitable
        except SessionError as e:
            return f"{type(e).__name__}: {e}"
        return "none"

    async def everything(self, response: Response) -> AsyncIterator[Any]:
        alice = self.sessions.of(response)
        yield {"of": alice.id, "get": await self.sessions.get("alice") is alice}
        fetched = await alice.fetch(Request(f"{self.site}fetched"))
        yield {"fetch": [repr(fetched.body), fetched.meta["session_id"]]}
        await self.get("pooled", {"session_pool": "shop"})
        yield {"pool": [info["session_id"] for info in await self.sessions.pool("shop")]}
        fork = await self.sessions.fork("alice", "alice-2")
        await self.sessions.login_again("alice")
        await self.sessions.retire("alice-2", "no more")
        yield {"fork": fork.id, "refresh": alice.generation, "retire": fork.status}
        yield {"delete": [await self.sessions.delete("alice-2"), await self.sessions.delete("alice-2")]}
        yield {"shared": await self.sessions.shared.update(lambda data: {"n": 1})}

    async def of_nobody(self, response: Response) -> AsyncIterator[Any]:
        try:
            self.sessions.of(response)
        except SessionError as e:
            yield {"error": f"{type(e).__name__}: {e}"}

    async def pool(self, response: Response) -> AsyncIterator[Any]:
        for number in range(2):
            await self.get(str(number), {"session_pool": "shop"})
        infos = await self.sessions.pool("shop")
        yield {"infos": [[info["session_id"], info["status"], info["pages_visited"]] for info in infos]}
        yield {"empty": await self.sessions.pool("staff"), "error": await self.error(self.sessions.pool("shpo"))}

    async def fork(self, response: Response) -> AsyncIterator[Any]:
        alice = self.sessions.of(response)
        alice.data["basket"] = ["a"]
        other = await self.sessions.fork("alice", "other")
        numbers = [
            other.pages_visited,
            runtime_of(other).requests,
            "new" if other.start_time > alice.start_time else "old",
        ]
        await self.sessions.get("other")
        record = await self.extension_record("other")
        for session, word in ((alice, "mine"), (other, "its")):
            basket = session.data["basket"]
            assert isinstance(basket, list)
            basket.append(word)
        yield {"sid": _sid(alice), "forked sid": _sid(other), "data": [dict(alice.data), dict(other.data)]}
        other.cookies.clear()
        yield {"numbers": [*numbers, 0 if _sid(alice) else 1], "stored": record}
        await self.get("q", {"session_id": "third"})
        yield {
            "errors": [
                await self.error(self.sessions.fork("nobody", "new")),
                await self.error(self.sessions.fork("third", "alice")),
                await self.error(self.sessions.fork("alice", "alice")),
                (await self.error(self.sessions.fork("alice", "a\nb"))).partition(":")[0],
            ]
        }

    async def extension_record(self, session_id: str) -> Any:
        """What the store has of *session_id*."""
        manager = self.sessions._router.manager
        found = await registry_of(manager).load(await manager._locate(session_id))
        return found[1].data if found is not None else None

    async def refresh(self, response: Response) -> AsyncIterator[Any]:
        alice = self.sessions.of(response)
        await self.get("q", ALICE)
        runtime_of(alice).login_errors = {"": "given up"}
        await self.sessions.login_again("alice")
        await self.get("r", ALICE)
        yield {}

    async def refresh_retired(self, response: Response) -> AsyncIterator[Any]:
        await self.sessions.retire("alice", "no more")
        yield {"error": await self.error(self.sessions.login_again("alice"))}
        yield {"status": (await self.sessions.get("alice")).status}

    async def retire(self, response: Response) -> AsyncIterator[Any]:
        shop = [await self.get("s", {"session_pool": "shop"}) for _ in range(2)]
        await self.sessions.retire("shop#1", "enough")
        yield {"shop": [*shop, *[await self.get("s", {"session_pool": "shop"}) for _ in range(2)]]}
        await self.sessions.retire("ann", "on holiday")
        yield {"staff": [await self.get("s", {"session_pool": "staff"}) for _ in range(2)]}
        await self.sessions.retire("ben", "ill")
        yield {"error": await self.error(self.get("s", {"session_pool": "staff"}))}

    async def look(self) -> AsyncIterator[Any]:
        yield {"shop": [await self.get("s", {"session_pool": "shop"}) for _ in range(4)]}
        yield {"error": await self.error(self.get("s", {"session_pool": "staff"}))}

    async def delete(self, response: Response) -> AsyncIterator[Any]:
        alice = self.sessions.of(response)
        yield {"answers": [await self.sessions.delete("alice"), await self.sessions.delete("nobody")]}
        await self.get("q", ALICE)
        yield {"same": await self.sessions.get("alice") is alice}

    async def errback(self, response: Response) -> AsyncIterator[Any]:
        yield self.ask("drop?drop=1", ALICE, errback=self.failed)

    async def failed(self, failure: Any) -> Any:
        alice = await self.sessions.get(failure.request.meta["session_id"])
        fetched = await alice.fetch(Request(f"{self.site}fetched"))
        return {"fetched": [repr(fetched.body), fetched.meta["session_id"]]}

    async def config_pool(self) -> AsyncIterator[Any]:
        for path, meta in (
            ("shop/1", {}),
            ("other", {}),
            ("shop/named", ALICE),
            ("shop/none", {"session_id": None}),
        ):
            yield self.ask(path, meta, self.tell)

    def tell(self, response: Response) -> Any:
        yield {response.url.replace(self.site, "/"): response.meta["session_id"]}


def _sid(session: BrowserSession) -> str | None:
    return next((cookie.value for cookie in session.cookies.dump() if cookie.name == "sid"), None)
