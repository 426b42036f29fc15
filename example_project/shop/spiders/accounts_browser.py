"""A login by a real browser, for a form that needs its script; all other pages come over plain HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from scrapy import Request

from scrapy_sessions import BrowserSession, Fetch
from shop.spiders.accounts import AccountsSpider, ShopSession

__all__ = ["AccountsBrowserSpider", "BrowserLogin"]

HANDLER = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"


class BrowserLogin(ShopSession):
    """Fills in the form and sends it in a browser, in a context of the session."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        from scrapy_playwright.page import PageMethod  # noqa: PLC0415  # the other spiders work without it

        credentials = await self.credentials(session)
        steps = [
            PageMethod("fill", "[name=user]", credentials.username),
            PageMethod("fill", "[name=password]", credentials.password),
            PageMethod("click", "#login button"),
            PageMethod("wait_for_url", "**/account"),
        ]
        meta = {"playwright": True, "playwright_page_methods": steps}
        response = await fetch(Request(self.login_url, meta=meta))
        return response.url.endswith("/account")


class AccountsBrowserSpider(AccountsSpider):
    """As ``accounts``, for a shop with ``--scripted``."""

    name = "accounts_browser"
    session_config = BrowserLogin
    custom_settings: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # Scrapy declares it otherwise
        "DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER},
        # Otherwise scrapy-playwright replaces the headers of the form that the page sends, its Content-Type included.
        "PLAYWRIGHT_PROCESS_REQUEST_HEADERS": None,
    }
