"""Requests that scrapy-playwright downloads: which part of a session they get, and what is removed of it again."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig, Verdict
from scrapy_sessions.crawl.identity import remove_leftovers
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.models import Profile
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.configs import CONFIG

URL = "https://shop.test/page"


class Page:
    """A page of the browser."""


def session(name: str = "alice") -> SessionRuntime:
    made = SessionRuntime(name, profile=Profile(user_agent=f"Agent of {name}", headers={"DNT": "1"}))
    made.bound_headers.set("X-Secret", "s3cret", url=URL)
    made.jar.set("user", name, domain="shop.test")
    return made


def applied(request: Request, made: SessionRuntime) -> InFlight:
    inflight = InFlight(made, CONFIG)
    inflight.apply_identity(request)
    inflight.apply_cookies(request)
    return inflight


def in_browser(**meta: Any) -> Request:
    return Request(URL, meta={"playwright": True, **meta})


def test_it_gets_no_secret_and_no_cookie() -> None:
    """Its headers go out with frames of other origins, too, and the browser has cookies of its own."""
    request = in_browser()
    applied(request, session())
    assert request.headers.to_unicode_dict() == {"User-Agent": "Agent of alice", "Dnt": "1"}
    plain = Request(URL)
    applied(plain, session())
    assert {"X-Secret", "Cookie"} <= set(plain.headers.to_unicode_dict())


def test_it_runs_in_the_context_of_its_session() -> None:
    """The context is named after the session while the request is on its way; one that the spider names stays."""
    request, own = in_browser(), in_browser(playwright_context="mine")
    for each in (request, own):
        inflight = applied(each, session())
        assert each.meta["playwright_context"] == ("alice" if each is request else "mine")
        inflight.remove_identity(each)
    assert request.meta == {"playwright": True}
    assert own.meta == {"playwright": True, "playwright_context": "mine"}


def test_what_the_handler_replaced_is_removed_by_value() -> None:
    """scrapy-playwright clears the headers and sets those that the browser sent, its cookies among them."""
    request = in_browser()
    inflight = applied(request, session())
    sent = request.headers.to_unicode_dict()
    request.headers.clear()
    request.headers.update({**sent, "cookie": "user=alice", "accept": "*/*"})
    inflight.remove_identity(request)
    assert request.headers.to_unicode_dict() == {"Accept": "*/*"}


def test_a_copy_made_on_the_way_is_freed_of_the_context() -> None:
    """A middleware that copies the request before its response arrives copies the name of the context."""
    request = in_browser()
    applied(request, session())
    copy = request.copy()
    remove_leftovers(copy)
    assert copy.meta == {"playwright": True}
    assert copy.headers == {}


def test_a_page_of_another_session_is_dropped() -> None:
    """A page that a response brought stays with its session; one of the spider's own making is left alone."""
    page, own = Page(), Page()
    first = in_browser(playwright_page=page)
    applied(first, session()).remove_identity(first)
    for name, kept in (("alice", True), ("bob", False)):
        request = in_browser(playwright_page=page)
        applied(request, session(name))
        assert ("playwright_page" in request.meta) is kept
    request = in_browser(playwright_page=own)
    applied(request, session("bob"))
    assert request.meta["playwright_page"] is own


@pytest.mark.parametrize(
    ("asked", "shown", "verdict"),
    [
        ("https://shop.test/page", "https://shop.test/login?next=/page", Verdict.EXPIRED),
        ("https://shop.test/page", "https://shop.test/other", Verdict.OK),
        ("https://shop.test/page", "https://shop.test/page", Verdict.OK),
        ("https://shop.test/login?next=/", "https://shop.test/login", Verdict.OK),
    ],
)
def test_a_final_url_at_the_login_page_is_an_expiry(asked: str, shown: str, verdict: Verdict) -> None:
    """A browser follows redirects by itself; a request for the login page is none."""
    config = type("Config", (SessionConfig,), {"login_url": "/login"})(get_crawler())
    assert config.check(Response(shown, 200), Request(asked)) is verdict
