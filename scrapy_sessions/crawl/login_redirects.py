"""Redirects of what a login posts: a status as 307 would send the credentials again, to wherever the site says."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.exceptions import LoginImpossible

if TYPE_CHECKING:
    from scrapy import Request

    from scrapy_sessions.config import SessionConfig

__all__ = ["check_redirect"]


def check_redirect(request: Request, config: SessionConfig) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.LoginImpossible` if *request*, of a login, must not follow its redirect.

    What is posted may be redirected once, as to a URL with a trailing slash, and never to plain HTTP from HTTPS. It
    stays at the site that it was sent to, at that of the config's ``login_url``, or at its ``trusted_hosts``.
    """
    before: list[str] = request.meta.get("redirect_urls") or []
    if not before or (request.method in {"GET", "HEAD"} and not request.body):
        return
    what = f"{safe_url(before[-1])} redirects what the login sends (status {request.meta['redirect_reasons'][-1]})"
    if len(before) > 1 or urldefrag(request.url).url in {urldefrag(url).url for url in before}:
        raise LoginImpossible(f"{what} again and again")
    if urlsplit(request.url).scheme != "https" and urlsplit(before[0]).scheme == "https":
        raise LoginImpossible(f"{what} to plain HTTP")
    trusted: list[str] | None = getattr(config, "trusted_hosts", None)
    hosts = [*(urlsplit(url).hostname or "" for url in (before[0], config.login_url or "")), *(trusted or ())]
    host = urlsplit(request.url).hostname or ""
    if site_of(host) not in map(site_of, hosts):
        name = type(config).__qualname__
        mend = "let the login send it there" if trusted is None else f"add it to {name}.trusted_hosts"
        raise LoginImpossible(f"{what} to {host}: if that is right, {mend}")
