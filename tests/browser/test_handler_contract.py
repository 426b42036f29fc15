"""The private names of scrapy-playwright and Playwright that the handler uses: what breaks if one changes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.support.browser import MISSING, chromium

handler = pytest.importorskip("scrapy_playwright.handler", reason="the package scrapy-playwright is not installed")

CLASS = handler.ScrapyPlaywrightDownloadHandler


def source(name: str) -> str:
    return inspect.getsource(getattr(CLASS, name))


def test_each_try_of_a_request_is_one_call() -> None:
    """``_download_request_with_retry`` is called once for each try, with the request whose meta names the context.

    Else requests run in contexts that are not filled from their sessions, and a lost context is never opened again.
    """
    assert list(inspect.signature(CLASS._download_request_with_retry).parameters) == ["self", "request", "spider"]
    assert "await self._download_request_with_retry(request=request, spider=spider)" in source("_download_request")
    assert "except TargetClosedError" in source("_download_request")
    assert 'request.meta.setdefault("playwright_context"' in source("_create_page")


def test_a_context_is_created_under_a_name() -> None:
    """``_create_browser_context`` returns a wrapper with the context, and registers it: else pages get another one."""
    names = ["self", "name", "context_kwargs", "spider"]
    assert list(inspect.signature(CLASS._create_browser_context).parameters) == names
    assert "self.context_wrappers[name] = BrowserContextWrapper(" in source("_create_browser_context")
    assert "self.context_wrappers.get(context_name)" in source("_create_page")
    assert "context" in {field.name for field in handler.BrowserContextWrapper.__dataclass_fields__.values()}


def test_the_configuration_has_the_limits() -> None:
    """The handler reads these limits: without them scrapy-playwright's own could deadlock, or look like a loss."""
    names = {"max_contexts", "startup_context_kwargs", "max_pages_per_context", "restart_disconnected_browser"}
    assert names <= set(handler.Config.__dataclass_fields__)


def test_the_handler_of_requests_goes_on_with_the_route() -> None:
    """``_make_request_handler`` returns what sends each request on: else no header that is bound to an origin is sent.

    It gets the name of the context as a keyword.
    """
    assert "context_name=context_name" in source("_download_request_with_retry")
    assert "await route.continue_(**overrides)" in source("_make_request_handler")


def test_pages_are_opened_and_loaded_by_one_call_each() -> None:
    """``_create_page`` and ``_download_request_with_page`` are where a page that is lost is noticed."""
    retry = source("_download_request_with_retry")
    assert "await self._create_page(request=request, spider=spider)" in retry
    assert "await self._download_request_with_page(request, page, spider)" in retry
    assert list(inspect.signature(CLASS._create_page).parameters) == ["self", "request", "spider"]


def test_the_end_of_a_browser_is_handled_by_one_method() -> None:
    """``_browser_disconnected_callback`` ends with ``del self.browser``, which ``_maybe_launch_browser`` looks for."""
    assert "del self.browser" in source("_browser_disconnected_callback")
    assert 'hasattr(self, "browser")' in source("_maybe_launch_browser")
    assert 'on("disconnected", self._browser_disconnected_callback)' in source("_maybe_launch_browser")


def test_the_page_closes_by_its_method() -> None:
    """Pages are closed by ``page.close()``, before which the handler reads their storages."""
    assert "await page.close()" in source("_download_request_with_page")


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium")
async def test_the_event_page_has_the_object_that_is_returned() -> None:
    """The object of the event ``page`` is that of ``new_page()``, comes before it, and takes a method of its own."""
    async with chromium() as browser:
        context = await browser.new_context()
        seen: list[Any] = []

        def see(page: Any) -> None:
            seen.append(page)

        context.on("page", see)
        page = await context.new_page()
        assert seen == [page]
        assert seen[0] is page
        page.close = "a method"
        assert seen[0].close == "a method"
