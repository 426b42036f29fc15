"""JSON data of a session that a spider may change in place at any time: its ``data`` and its storages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["WATCHED", "WatchedData", "copy_json"]

WATCHED = ("data", "local_storage", "session_storage")
"""The fields of the record that contain such data."""

_T = TypeVar("_T")
_MAX_DEPTH = 200  # levels of nesting to copy: more than the codec accepts


class WatchedData:
    """The dicts of :data:`WATCHED`, and a copy of them to find changes in place."""

    __slots__ = ("_seen", "current")

    def __init__(self) -> None:
        self.current: dict[str, dict[str, Any]] = {name: {} for name in WATCHED}
        self._seen: dict[str, dict[str, Any]] | None = None

    @property
    def watched(self) -> bool:
        """Whether the spider has got one of the dicts."""
        return self._seen is not None

    def watch(self) -> None:
        """Compare with the present content from now on, because the spider gets one of the dicts."""
        if self._seen is None:
            self._seen = copy_json(self.current)

    def changed(self) -> bool:
        """Whether the dicts were changed in place since the last call."""
        if self._seen is None:
            return False
        try:
            same = self._seen == self.current
        except Exception:  # noqa: BLE001  # objects that aren't JSON may not compare, such as arrays
            same = False
        if not same:
            self._seen = copy_json(self.current)
        return not same

    def restore(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace the content of the dict *name*, in place, because the spider may have it."""
        current = self.current[name]
        current.clear()
        current.update(copy_json(dict(content)))
        if self._seen is not None:
            self._seen[name] = copy_json(current)


def copy_json(value: _T, depth: int = 0) -> _T:
    """Return *value* with its dicts, lists and tuples copied.

    Objects that aren't JSON stay the same: they can't be saved, but must not keep the rest from being saved. The same
    holds for a dict that contains itself.
    """
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: copy_json(each, depth + 1) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [copy_json(each, depth + 1) for each in value]  # type: ignore[return-value]
    if type(value) is tuple:  # not a named one
        return tuple(copy_json(each, depth + 1) for each in value)  # type: ignore[return-value, attr-defined]
    return value
