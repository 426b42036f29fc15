"""At which sites a session is checked, and what a check needs for it there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.models import EVERYWHERE
from scrapy_sessions.sessions.runtime import ANY_SITE

if TYPE_CHECKING:
    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.crawl.configs import Configs
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["CheckedSites", "good_pages", "may_be_logged_in", "pause_at", "rest_of"]

_PATIENCE = 1.0
"""Seconds of a pause that a question waits for."""


class CheckedSites:
    """The sites of sessions: those where they have been, else the only one of the *spider*."""

    def __init__(self, configs: Configs, spider: object) -> None:
        self._configs = configs
        self._spider = spider

    def of(self, session: SessionRuntime, *, anonymous: bool) -> tuple[list[SessionConfig], str]:
        """Return the configs of the sites that *session* is asked about, and why it can't be logged in there, if so.

        Nobody's password is sent to a site that it may not be for. An anonymous session that never had a login gets
        none for a site where the spider doesn't begin.
        """
        starts = self._start_pages()
        own = self._configs.that_define_logins(starts, ()) if starts else self._configs.default_login()
        logins = dict(session.logged_in)
        anywhere = logins.pop(ANY_SITE, None)
        hosts = () if anywhere is None else anywhere["hosts"]
        pages = [session.last_url or "", *good_pages(session.history.texts())]
        pages = [each for each in pages if each.startswith(("http:", "https:"))]
        been = self._configs.that_define_logins([*pages, *(f"https://{host}/" for host in hosts)], logins)
        if logins and anywhere is None:
            seen = {site_of(urlsplit(each).hostname or "") for each in pages}
            been = [each for each in been if each.site in logins or not seen.isdisjoint(each.domains)]
            if not been:
                return [], f"it has logged in at {', '.join(filter(None, logins))} only"
        if anonymous and not (session.logged_in or session.logins):
            been = [each for each in been if each in own or not each.can_log_in]
        if been or len(own) < 2:
            return been or own, ""
        sites = ", ".join(each.site or type(each).__qualname__ for each in own)
        doubt = f"which site? It has been at none of {sites}. Log it in with: scrapy sessions login"
        return (own if anywhere is not None else []), doubt

    def _start_pages(self) -> list[str]:
        """Return the URLs at which the spider begins."""
        starts = getattr(self._spider, "start_urls", None) or ()
        domains = getattr(self._spider, "allowed_domains", None) or ()
        if isinstance(domains, str):
            domains = (domains,)
        urls = [*starts, *(f"https://{domain}/" for domain in domains)]
        return [each for each in urls if isinstance(each, str) and each.startswith(("http:", "https:"))]


def may_be_logged_in(session: SessionRuntime) -> bool:
    """Whether *session* has something by which a site could recognise it."""
    return bool(len(session.jar)) or any(origin != EVERYWHERE for origin in session.bound_headers.dump())


def pause_at(session: SessionRuntime, config: SessionConfig) -> str:
    """Return until when the site of *config* has asked *session* to wait, for the end of a sentence; empty: it hasn't.

    A short pause doesn't count.
    """
    hosts = ((urlsplit(f"//{netloc}").hostname or "", until) for netloc, until in session.pauses.items())
    untils = (until for host, until in hosts if not config.domains or site_of(host) in config.domains)
    seconds = max(untils, default=0.0) - time.monotonic()
    if seconds <= _PATIENCE:
        return ""
    return f": the site asks to wait until {_moment(seconds)}"


def rest_of(session: SessionRuntime) -> str:
    """Return until when the budget of *session* is used up, for the end of a sentence; empty: it isn't."""
    seconds = session.rest(time.time())
    return f": it rests until {_moment(seconds)}, as its budget is used up" if seconds else ""


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + seconds))


def good_pages(actions: Sequence[str]) -> Iterator[str]:
    """Yield the URLs of the GET requests in *actions* that had a good response, the newest first."""
    for action in reversed(actions):
        method, _, rest = action.partition(" ")
        url, _, status = rest.rpartition(" ")
        if method == "GET" and url.startswith(("http:", "https:")) and "?" not in url and status in {"200", "203"}:
            yield url
