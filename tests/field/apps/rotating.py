"""An aiohttp site whose session id is good for one request: each response sets the next one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.field.apps.watch import Watch

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
sessions: dict[str, str] = {}
"""The user of each session id; the anonymous one is empty."""


def log_out() -> None:
    """End the sessions of the requests under way, too: their next ids are stored where nobody looks any more."""
    global sessions  # noqa: PLW0603
    sessions = {}


watch = Watch(log_out)


@web.middleware
async def rotate(request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Response:
    begun = sessions
    request["user"] = begun.pop(request.cookies.get("sid", ""), "")
    response = await handler(request)
    sid = secrets.token_hex()
    begun[sid] = request["user"]
    response.set_cookie("sid", sid, httponly=True, samesite="Strict")
    return response


async def login(request: web.Request) -> web.Response:
    form = await request.post()
    user = str(form["user"])
    watch.login(user)
    if PASSWORDS[user] != form["password"]:
        return web.json_response({"error": "wrong password"}, status=400)
    request["user"] = user
    return web.json_response({"user": user})


async def note(request: web.Request) -> web.Response:
    user = request["user"]
    if not user:
        return web.json_response({"error": "log in"}, status=401)
    watch.page(user, request.path_qs)
    return web.json_response({"user": user})


async def main() -> None:
    app = web.Application(middlewares=[rotate])
    app.add_routes([web.post("/login", login), web.get("/notes/{number}", note)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    watch.announce(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
