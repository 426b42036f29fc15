"""A login at the tests' site without a crawl, and whether somebody is logged in."""

from __future__ import annotations

from http.client import HTTPConnection
from http.cookies import SimpleCookie

from scrapy_sessions import Cookie
from tests.support.site import HOST, Site
from tests.support.waiting import HANG

__all__ = ["GREETING", "login_cookie"]

GREETING = "Hello, alice"
"""Stands on the page ``/secret`` for who is logged in as alice."""


def login_cookie(site: Site) -> Cookie:
    """Log alice in at *site* and return the cookie that says so."""
    connection = HTTPConnection(HOST, site.ports[0], timeout=HANG)
    try:
        connection.request("POST", "/login", "user=alice", {"Content-Type": "application/x-www-form-urlencoded"})
        said = SimpleCookie(connection.getresponse().headers["Set-Cookie"])["auth"]
    finally:
        connection.close()
    return Cookie(name="auth", value=said.value, domain=HOST, http_only=True)
