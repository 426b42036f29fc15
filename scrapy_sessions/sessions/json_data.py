"""JSON data of a session that a spider may change in place at any time: its ``data`` and its storages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic_core import to_json

from scrapy_sessions.exceptions import InvalidData
from scrapy_sessions.json_limits import MAX_DEPTH, MAX_SIZE, fault_of

WATCHED = ("data", "local_storage", "session_storage", "indexed_db")
"""The fields of the record that contain such data."""

_T = TypeVar("_T")
_COPIED = MAX_DEPTH + 1  # levels to copy: what can be saved, and the dict of WatchedData


class CheckedDict(dict[str, Any]):
    """The dict *name* of a session, which refuses values that can't be saved.

    What is changed deeper inside is checked when the session is saved.
    """

    __slots__ = ("_name", "_session_id")

    def __init__(self, session_id: str, name: str) -> None:
        super().__init__()
        self._session_id = session_id
        self._name = name

    def __setitem__(self, key: str, value: Any) -> None:
        self._check(key, value)
        super().__setitem__(key, value)

    def _check(self, key: str, value: Any) -> None:
        fault = fault_of({key: value})
        if fault is None and self._name != "data":
            fault = _fault_of_databases(value) if self._name == "indexed_db" else _fault_of_storage(value)
        if fault is None and isinstance(value, str | list | tuple | dict) and len(to_json(value)) > MAX_SIZE:
            fault = f"it has more than {MAX_SIZE // 2**20} MiB"
        if fault is not None:
            raise InvalidData(
                f"session.{self._name}[{key!r:.80}] of the session {self._session_id!r} can't be saved: {fault}"
            )

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        content = dict(*args, **kwargs)
        for key, value in content.items():
            self._check(key, value)
        super().update(content)

    def __ior__(self, other: Any) -> CheckedDict:  # type: ignore[override,misc]  # dict's has two overloads
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy is a plain dict


def _fault_of_storage(value: object) -> str | None:
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return None
    return "the storage of an origin must be a dict of strings"


def _fault_of_databases(value: object) -> str | None:
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return None
    return "the databases of an origin must be a list of dicts"


class WatchedData:
    """The dicts of :data:`WATCHED`, and a copy of them to find changes in place."""

    __slots__ = ("_seen", "current")

    def __init__(self, session_id: str) -> None:
        self.current: dict[str, dict[str, Any]] = {name: CheckedDict(session_id, name) for name in WATCHED}
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
        dict.update(current, copy_json(dict(content)))  # checked when it was read
        if self._seen is not None:
            self._seen[name] = copy_json(current)


def copy_json(value: _T, depth: int = 0) -> _T:
    """Return *value* with its dicts, lists and tuples copied.

    Objects that aren't JSON stay the same: they can't be saved, but must not keep the rest from being saved. The same
    holds for a dict that contains itself.
    """
    if depth > _COPIED:
        return value
    if isinstance(value, dict):
        return {key: copy_json(each, depth + 1) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [copy_json(each, depth + 1) for each in value]  # type: ignore[return-value]
    if type(value) is tuple:  # not a named one
        return tuple(copy_json(each, depth + 1) for each in value)  # type: ignore[return-value, attr-defined]
    return value
