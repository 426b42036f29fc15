"""The analytics that a subcommand shows."""

from __future__ import annotations

import time

from scrapy_sessions.analytics.model import HourCounts, hour_of
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.storage import AnalyticsStore

__all__ = ["analytics_of", "select"]


def analytics_of(context: Context) -> AnalyticsStore:
    """Return the store if it stores analytics. Raises :exc:`CommandError` otherwise."""
    store = context.store
    if not isinstance(store, AnalyticsStore):
        raise CommandError(
            f"The store {store.location} stores no analytics, because {type(store).__name__} is no AnalyticsStore", 1
        )
    return store


async def select(context: Context, store: AnalyticsStore) -> list[HourCounts]:
    """Return the rows that the options select."""
    options = context.options
    since = hour_of(time.time() - options.since)
    found = await store.hour_counts(options.namespace, since, by_session=options.by == "session")
    return [row for row in found if options.pool in (None, row.pool)]
