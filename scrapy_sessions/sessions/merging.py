"""Merging two records that grew apart from a common one: what two processes did to the same session.

Nothing that either added is lost: counters add up what each added, cookies are taken by newest ``updated``, mappings
key by key. A higher generation beats a lower one: what belongs to an older login is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from scrapy_sessions.models import Cookie, Metrics, PersistentSession

__all__ = ["merge_records"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_COUNTERS = ("requests", "logins", "failures", "bytes", "latency")
_MAPPINGS = ("headers", "local_storage", "session_storage", "data")


def merge_records(
    base: PersistentSession | None, mine: PersistentSession, theirs: PersistentSession
) -> PersistentSession:
    """Merge *mine* and *theirs*, which both began as *base* (``None``: as an empty record). Pure; takes no I/O.

    Identity, policy, birth and revision are those of *theirs*, which is stored: they are settled at birth.
    """
    ancestor = base or PersistentSession.model_construct(session_id=mine.session_id)
    update: dict[str, object] = {
        "last_activity": max(mine.last_activity, theirs.last_activity),
        "pages_visited": theirs.pages_visited + mine.pages_visited - ancestor.pages_visited,
        "actions_performed": theirs.actions_performed + _added(ancestor.actions_performed, mine.actions_performed),
        "metrics": _merge_metrics(ancestor.metrics, mine.metrics, theirs.metrics),
        "generation": max(mine.generation, theirs.generation),
    }
    if mine.last_activity >= theirs.last_activity:
        update["last_url"] = mine.last_url
    if theirs.status != "retired" and (
        mine.status == "retired"
        or mine.generation > theirs.generation
        or (mine.generation == theirs.generation and mine.status != ancestor.status)
    ):
        update["status"], update["retired_reason"] = mine.status, mine.retired_reason
    if mine.generation > theirs.generation:
        update["cookies"] = mine.cookies
        update.update({name: getattr(mine, name) for name in _MAPPINGS})
    elif mine.generation == theirs.generation:
        update["cookies"] = _merge_cookies(ancestor.cookies, mine.cookies, theirs.cookies)
        update.update(
            {name: _merge(getattr(ancestor, name), getattr(mine, name), getattr(theirs, name)) for name in _MAPPINGS}
        )
    return theirs.model_copy(update=update)


def _merge(base: Mapping[_K, _V], mine: Mapping[_K, _V], theirs: Mapping[_K, _V]) -> dict[_K, _V]:
    """Merge by key; where both changed the same one, mine is the later save and wins."""
    merged = dict(theirs)
    for key in {**base, **mine}:
        if key in mine:
            if key not in base or mine[key] != base[key]:
                merged[key] = mine[key]
        else:
            merged.pop(key, None)
    return merged


def _merge_cookies(base: Sequence[Cookie], mine: Sequence[Cookie], theirs: Sequence[Cookie]) -> list[Cookie]:
    """Merge by identity. Both changed: the newest ``updated``. Deleted by one and changed by the other: the change."""
    old, ours = _by_identity(base), _by_identity(mine)
    merged = _by_identity(theirs)
    for key, cookie in ours.items():
        if cookie == old.get(key):
            continue  # not changed by us: theirs stands, be it another or none
        other = merged.get(key)
        if other is None or cookie.updated >= other.updated:
            merged[key] = cookie
    for key, cookie in old.items():
        if key not in ours and merged.get(key) == cookie:
            del merged[key]
    return sorted(merged.values(), key=lambda cookie: cookie.created)


def _by_identity(cookies: Sequence[Cookie]) -> dict[tuple[object, ...], Cookie]:
    return {(c.name, c.domain, c.path, c.host_only, c.partition_key, c.cross_site_ancestor): c for c in cookies}


def _merge_metrics(base: Metrics, mine: Metrics, theirs: Metrics) -> Metrics:
    update: dict[str, object] = {
        name: getattr(theirs, name) + getattr(mine, name) - getattr(base, name) for name in _COUNTERS
    }
    responses = dict(theirs.responses)
    for status, count in mine.responses.items():
        responses[status] = responses.get(status, 0) + count - base.responses.get(status, 0)
    update["responses"] = responses
    return theirs.model_copy(update=update)


def _added(base: Sequence[str], mine: Sequence[str]) -> list[str]:
    """Return what *mine* has beyond *base*, of which the oldest may have been dropped since."""
    for start in range(len(base) + 1):
        kept = len(base) - start
        if list(base[start:]) == list(mine[:kept]):
            return list(mine[kept:])
    return list(mine)
