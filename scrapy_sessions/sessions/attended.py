"""A session that a person used in a browser, which is saved beside what crawls do with it meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from scrapy_sessions.cookies.hosts import canonical_host, site_of
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.models import Metrics
from scrapy_sessions.sessions.runtime import ANY_SITE
from scrapy_sessions.storage.abilities import LeaseStore
from scrapy_sessions.storage.base import Key

if TYPE_CHECKING:
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime

_LEASE = 30.0  # seconds
_LONGEST_WAIT = 60.0  # seconds for a login that a crawl runs
_INTERVAL = 0.5  # seconds between two attempts to take its lease


def login_lease(session_id: str) -> str:
    """Return the name of the lease that whoever logs *session_id* in holds."""
    return f"login:{session_id}"


async def save_login(
    registry: SessionRegistry,
    session: SessionRuntime,
    *,
    hosts: Collection[str],
    site: str | None,
    waiting: Callable[[], None],
) -> bool:
    """Save *session*, which a person has logged in, as a new generation, above that of whatever crawls have saved.

    :param session: of ``registry.detached()``
    :param hosts: where the login was
    :param site: ``SessionConfig.site``; ``None``: it isn't known. Then it counts as logged in at the sites of *hosts*
        where it was logged in before, else wherever it is used
    :param waiting: called when a crawl logs the session in at the moment, for which this waits

    A session that has expired meanwhile is saved as a new one. Returns False if it was deleted meanwhile.
    """
    async with _alone(registry, session, waiting):
        found = await registry.load(Key(session.namespace, session.id))
        if session.revision and session.expired(registry.clock()) is not None:
            _begin_anew(session, registry.clock())
        if found is not None and (not session.revision or found[1].start_time == session.start_time):
            stored = found[1]
            if stored.generation >= session.generation:
                # Of two generations nothing is merged: what a spider has put there since isn't the browser's.
                session.generation = stored.generation
                session.restore_data("data", stored.data)
                session.bound_headers.restore(stored.headers)
        session.new_generation()
        now = registry.clock()
        for each in [site] if site is not None else _sites(session, hosts):
            session.log_in(each, now, hosts)
        session.logins += 1
        session.last_activity = now
        session.record("Logged in by a person")
        registry.analytics.record_event("login", session, "by a person")
        return await registry.save(session)


async def save_visit(registry: SessionRegistry, session: SessionRuntime) -> bool:
    """Save *session*, which a person has used. That is no login.

    Returns False if it was deleted meanwhile, or logged in by somebody else: then what changed is not kept.
    """
    generation, now = session.generation, registry.clock()
    if session.expired(now) is None:
        session.last_activity = now
    session.changed()
    return await registry.save(session) and session.generation == generation


def _begin_anew(session: SessionRuntime, now: float) -> None:
    """Make *session*, which has expired, a new one with the same identity and content: its logins are over."""
    times = {"start_time": now, "last_activity": now}
    fresh = {"revision": 0, "pages_visited": 0, "metrics": Metrics(), "status": "new", "logged_in": {}}
    session.restore(session.snapshot().model_copy(update={**times, **fresh}))
    session.merge_base = None


def _sites(session: SessionRuntime, hosts: Collection[str]) -> list[str]:
    """Return the names of the sites that the login at *hosts* is for."""
    domains = {site_of(canonical_host(host) or host) for host in hosts}

    def domain(site: str) -> str:
        host = site.rpartition("//")[2].partition("/")[0].partition(":")[0]
        return site_of(canonical_host(host) or host)

    return [site for site in session.logged_in if site and domain(site) in domains] or [ANY_SITE]


@asynccontextmanager
async def _alone(
    registry: SessionRegistry, session: SessionRuntime, waiting: Callable[[], None]
) -> AsyncIterator[None]:
    """Hold the lease of the session's login, so that no crawl logs it in at the same time.

    A crawl that doesn't end its login in time is not waited for: the later save wins.
    """
    leases = registry.store
    if not isinstance(leases, LeaseStore):
        yield
        return
    until = time.monotonic() + _LONGEST_WAIT
    lease = await leases.lease(session.namespace, login_lease(session.id), _LEASE)
    if lease is None:
        waiting()
    while lease is None and time.monotonic() < until:
        await asyncio.sleep(_INTERVAL)
        lease = await leases.lease(session.namespace, login_lease(session.id), _LEASE)
    try:
        yield
    finally:
        if lease is not None:
            with suppress(StoreError):  # it expires by itself
                await leases.release(lease)
