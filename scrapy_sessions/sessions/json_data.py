"""What a spider may change in place, at any time and without a word: a session's data and storages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["WatchedData", "copy_json"]

_T = TypeVar("_T")
_DEEPEST = 200  # levels of nested data: deeper than what the codec takes


class WatchedData:
    """The three trees of a session: ``data``, ``local_storage`` and ``session_storage``."""

    __slots__ = ("_seen", "current")

    def __init__(self) -> None:
        self.current: tuple[dict[str, Any], dict[str, dict[str, str]], dict[str, dict[str, str]]] = ({}, {}, {})
        self._seen: tuple[Any, ...] | None = None

    @property
    def watched(self) -> bool:
        """Whether somebody holds them."""
        return self._seen is not None

    def watch(self) -> None:
        """Somebody holds them from now on: what they are now is what :meth:`changed` compares with."""
        if self._seen is None:
            self._seen = copy_json(self.current)

    def changed(self) -> bool:
        """Whether they were changed in place since the last look."""
        if self._seen is None:
            return False
        try:
            same = self._seen == self.current
        except Exception:  # noqa: BLE001  # what isn't JSON may not compare, an array for one: then it is another
            same = False
        if not same:
            self._seen = copy_json(self.current)
        return not same

    def restore(self, *stored: Mapping[str, Any]) -> None:
        """Give them the content of *stored*, in place: the spider may hold them."""
        trees: tuple[dict[str, Any], ...] = self.current
        for tree, content in zip(trees, stored, strict=True):
            tree.clear()
            tree.update(copy_json(dict(content)))
        if self._seen is not None:
            self._seen = copy_json(self.current)


def copy_json(tree: _T, depth: int = 0) -> _T:
    """Return *tree* with its dicts, lists and tuples copied. What isn't JSON stays the same object: it can't be saved,
    but it must not keep the rest from being saved. Nor must what holds itself."""
    if depth > _DEEPEST:
        return tree
    if isinstance(tree, dict):
        return {key: copy_json(value, depth + 1) for key, value in tree.items()}  # type: ignore[return-value]
    if isinstance(tree, list):
        return [copy_json(value, depth + 1) for value in tree]  # type: ignore[return-value]
    if type(tree) is tuple:  # not a named one
        return tuple(copy_json(value, depth + 1) for value in tree)  # type: ignore[return-value, attr-defined]
    return tree
