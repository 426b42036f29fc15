"""The identity of a session in a new Playwright context."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from playwright.async_api import BrowserContext, Error, Route

# Of a profile's headers, a browser makes these itself, differently for a page, an image or a script.
_BROWSERS_OWN = ("accept", "sec-", "user-agent", "upgrade-insecure-requests", "connection")


class Identity(Protocol):
    """The part of a session that sites see beside its cookies."""

    user_agent: str | None
    language: str | None
    timezone: str | None
    viewport_width: int | None
    viewport_height: int | None

    def current_proxy(self) -> str | None: ...


def context_options(session: Identity, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the arguments of ``browser.new_context()`` for *session*.

    :param headers: those of its profile, which go to every site
    """
    options: dict[str, Any] = {}
    extra = {name: value for name, value in headers if not name.lower().startswith(_BROWSERS_OWN)}
    if session.user_agent:
        options["user_agent"] = session.user_agent
    if session.language:
        extra["Accept-Language"] = session.language
        locale = _first_tag(session.language)
        if locale != "*":
            options["locale"] = locale
    if session.timezone:
        options["timezone_id"] = session.timezone
    if session.viewport_width and session.viewport_height:
        options["viewport"] = {"width": session.viewport_width, "height": session.viewport_height}
    proxy = session.current_proxy()
    if proxy:
        options["proxy"] = _proxy(proxy)
    if extra:
        options["extra_http_headers"] = extra
    return options


async def send_languages(context: BrowserContext, language: str | None) -> None:
    """Let navigations of *context* send *language* as ``Accept-Language``, as all other requests do.

    A browser with a locale sends that tag alone with navigations, whatever the extra headers say. A single tag is left
    to it, because Playwright switches the HTTP cache off for a context whose requests are intercepted.
    """
    if not language or language == _first_tag(language):
        return

    async def send(route: Route) -> None:
        request = route.request
        with suppress(Error):  # the page is closed
            if request.is_navigation_request():
                await route.fallback(headers={**request.headers, "accept-language": language})
            else:
                await route.fallback()

    await context.route("**/*", send)


def _first_tag(language: str) -> str:
    return language.partition(",")[0].partition(";")[0].strip()


def _proxy(url: str) -> dict[str, str]:
    """Return *url* as Playwright's ``proxy``: a browser takes no credentials in the URL."""
    parts = urlsplit(url)
    proxy = {"server": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"}
    if parts.username is not None:
        proxy["username"] = unquote(parts.username)
    if parts.password is not None:
        proxy["password"] = unquote(parts.password)
    return proxy
