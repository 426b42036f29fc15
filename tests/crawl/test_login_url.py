"""Which redirects are one to ``login_url``: those that a browser would see at the same page."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig, Verdict

PAGE = "https://shop.test/account/1"


def verdict(login: str, location: str | bytes) -> Verdict:
    """The verdict on a redirect from PAGE to *location*."""
    config = type("Config", (SessionConfig,), {"login_url": login})(get_crawler())
    response = Response(PAGE, 302, {"Location": location})
    found: Any = config.check(response, Request(PAGE))
    assert isinstance(found, Verdict)
    return found


@pytest.mark.parametrize(
    "location",
    [
        "/login",
        "../login",
        "//shop.test/login",
        "https://shop.test/login?next=/account/1",
        "https://shop.test/login#form",
        "https://shop.test:443/login",
        "HTTPS://SHOP.TEST/login",
        "/login/",
        "/login;jsessionid=9F8A77?next=1",
        "/login;JSESSIONID=9F8A77",
        "/%6Cogi%6e",
        " /login\t",
    ],
)
@pytest.mark.parametrize("login", ["https://shop.test/login", "/login", "https://Shop.test:443/%6Cogin/?lang=en"])
def test_the_same_page(login: str, location: str) -> None:
    """Query, session id, default port, case of the host, slash and needless encoding make no difference."""
    assert verdict(login, location) is Verdict.EXPIRED


@pytest.mark.parametrize(
    "location",
    [
        "/Login",
        "/login/help",
        "/log%2Fin",
        "/login;v=2",
        "http://shop.test/login",
        "https://shop.test:8443/login",
        "https://login.shop.test/login",
        "https://shop.test.evil.test/login",
        "https://alice@shop.test/login",
        "https://shop.test@evil.test/login",
    ],
)
def test_another_page(location: str) -> None:
    """Another path, scheme, host or port, or somebody's name before the host, does."""
    assert verdict("https://shop.test/login", location) is Verdict.OK


@pytest.mark.parametrize("location", ["http://[bad/login", "http://h.test:99999/login", "http://[::1", b"\xff\xfe", ""])
def test_a_malformed_location_is_no_error(location: str | bytes) -> None:
    """It is another URL, also for a check() that asks this method."""
    assert verdict("/login", location) is Verdict.OK
