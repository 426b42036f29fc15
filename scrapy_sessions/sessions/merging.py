"""How each field of two records is merged that both began as the same one: the work of two processes on one session.

Nothing that either process added is lost: counters are summed, cookies are chosen by the newest ``updated``, mappings
are merged by key. A higher generation wins over a lower one, whose cookies and data are dropped.

Each function returns the merged value of the field *name* of *mine* and *theirs*, which both began as *base*. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from scrapy_sessions.models import Cookie, Metrics, PersistentSession

Merge: TypeAlias = Callable[[str, PersistentSession, PersistentSession, PersistentSession], Any]

_K = TypeVar("_K")
_V = TypeVar("_V")


def of_stored(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """The stored value, for what is set when a session is created."""
    return getattr(theirs, name)


def the_highest(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """The higher value."""
    return max(getattr(mine, name), getattr(theirs, name))


def the_sum(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """The value of the base, and what each added."""
    return getattr(theirs, name) + getattr(mine, name) - getattr(base, name)


def of_latest_activity(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """The value of the record with the latest activity."""
    return getattr(mine if mine.last_activity >= theirs.last_activity else theirs, name)


def merge_status(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """For the status and its reason: retired by either is retired; else by the generation, and by who changed it."""
    was_retired = base.status == "retired"  # then a session that isn't has been put back into use
    changed = (theirs.status != "retired" or was_retired) and (
        (mine.status == "retired" and not was_retired)
        or mine.generation > theirs.generation
        or (mine.generation == theirs.generation and mine.status != base.status)
    )
    return getattr(mine if changed else theirs, name)


def merge_by_key(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """For mappings. Where both changed a key, mine is the later save and wins."""
    return _of_generation(_by_key, name, base, mine, theirs)


def merge_cookies(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Any:
    """By identity: the newest ``updated`` of two changes; a change wins over a deletion."""
    return _of_generation(_cookies, name, base, mine, theirs)


def merge_actions(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> list[str]:
    """Theirs, and then the actions that mine has beyond the base, whose oldest may have been dropped since."""
    before, mine_now = base.actions_performed, mine.actions_performed
    for start in range(len(before) + 1):
        kept = len(before) - start
        if before[start:] == mine_now[:kept]:
            return theirs.actions_performed + mine_now[kept:]
    return theirs.actions_performed + mine_now


def merge_budget_used(
    name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession
) -> dict[str, dict[str, int]] | None:
    """The sums by window and slot. Slots that either has forgotten, as they are over, are left out."""
    old, ours, stored = (getattr(record, name) or {} for record in (base, mine, theirs))
    if getattr(mine, name) is None:  # it doesn't count
        ours = old
    merged: dict[str, dict[str, int]] = {}
    for window in {**stored, **ours}:
        before, added, there = (each.get(window, {}) for each in (old, ours, stored))
        sums = {
            slot: there.get(slot, 0) + added.get(slot, 0) - before.get(slot, 0)
            for slot in {**there, **added}
            if not before.get(slot) or (slot in there and slot in added)
        }
        merged[window] = {slot: n for slot, n in sums.items() if n > 0}
    return merged if merged or getattr(mine, name) is not None or getattr(theirs, name) is not None else None


def merge_metrics(name: str, base: PersistentSession, mine: PersistentSession, theirs: PersistentSession) -> Metrics:
    """The sums of all counters; those of a mapping by key."""
    update: dict[str, Any] = {}
    for counter in Metrics.model_fields:
        old, ours, stored = (getattr(record.metrics, counter) for record in (base, mine, theirs))
        if isinstance(stored, dict):
            keys = {**stored, **ours}
            update[counter] = {key: stored.get(key, 0) + ours.get(key, 0) - old.get(key, 0) for key in keys}
        else:
            update[counter] = stored + ours - old
    return theirs.metrics.model_copy(update=update)


def _of_generation(
    merge: Callable[[Any, Any, Any], Any],
    name: str,
    base: PersistentSession,
    mine: PersistentSession,
    theirs: PersistentSession,
) -> Any:
    """The value of the higher generation; the merged one if both records have the same."""
    if mine.generation != theirs.generation:
        return getattr(mine if mine.generation > theirs.generation else theirs, name)
    return merge(*(getattr(record, name) for record in (base, mine, theirs)))


def _by_key(base: Mapping[_K, _V], mine: Mapping[_K, _V], theirs: Mapping[_K, _V]) -> dict[_K, _V]:
    merged = dict(theirs)
    for key in {**base, **mine}:
        if key in mine:
            if key not in base or mine[key] != base[key]:
                merged[key] = mine[key]
        else:
            merged.pop(key, None)
    return merged


def _cookies(base: Sequence[Cookie], mine: Sequence[Cookie], theirs: Sequence[Cookie]) -> list[Cookie]:
    old, ours, merged = (
        {(c.name, c.domain, c.path, c.host_only, c.partition_key, c.cross_site_ancestor): c for c in cookies}
        for cookies in (base, mine, theirs)
    )
    for key, cookie in ours.items():
        other = merged.get(key)
        if cookie != old.get(key) and (other is None or cookie.updated >= other.updated):
            merged[key] = cookie
    for key, cookie in old.items():
        if key not in ours and merged.get(key) == cookie:
            del merged[key]
    return sorted(merged.values(), key=lambda cookie: cookie.created)
