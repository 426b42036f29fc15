"""What a jar has changed since it was last equal to its stored record, and the three-way merge that rests on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scrapy_sessions.cookies.entry import Entry, Identity

__all__ = ["Changes"]


class Changes:
    """The differences between a jar and the record it was loaded from or saved to.

    Only differences are kept (what stood there before), not the record: a jar at rest costs nothing here.
    """

    __slots__ = ("_base", "_deleted")

    def __init__(self) -> None:
        self._base: dict[Identity, Entry | None] = {}
        self._deleted: dict[Identity, float] = {}

    def clear(self) -> None:
        self._base.clear()
        self._deleted.clear()

    def replaced(self, identity: Identity, old: Entry | None) -> None:
        """Note that a cookie took the place of *old*, or was new."""
        self._base.setdefault(identity, old)
        self._deleted.pop(identity, None)

    def removed(self, identity: Identity, old: Entry, now: float) -> None:
        """Note that *old* was deleted at *now*."""
        if self._base.setdefault(identity, old) is None:
            # Added and deleted again since then: the record never knew it, nothing needs to be remembered.
            del self._base[identity]
        else:
            self._deleted[identity] = now

    def rebase(self, mine: Mapping[Identity, Entry], stored: Mapping[Identity, Entry], now: float) -> None:
        """Make *stored* the record that changes are counted from. A cookie that only expired is no change."""
        deleted = self._deleted
        self._base, self._deleted = {}, {}
        for identity, entry in mine.items():
            old = stored.get(identity)
            if not entry.is_the_same(old) and not (old is None and entry.is_expired(now)):
                self._base[identity] = old
        for identity, old in stored.items():
            if identity not in mine and not old.is_expired(now):
                self._base[identity] = old
                self._deleted[identity] = deleted.get(identity, now)

    def merge(self, mine: Mapping[Identity, Entry], theirs: Mapping[Identity, Entry]) -> Iterable[Entry]:
        """Yield the cookies that stand after both sides' changes: a change beats none, a newer one an older one.

        A deletion by them yields to any change of mine; mine yields to a change of theirs that is newer.
        """
        for identity, their in theirs.items():
            my = mine.get(identity)
            if my is not None:
                their.seq, their.used = my.seq, my.used
            if identity not in self._base:
                yield their
            elif their.is_the_same(self._base[identity]):
                if my is not None:
                    yield my
            elif my is None:
                # Without a time it wasn't deleted, it expired.
                if their.updated > self._deleted.get(identity, float("-inf")):
                    yield their
            else:
                yield their if their.updated > my.updated else my
        for identity, my in mine.items():
            if identity not in theirs and identity in self._base:
                yield my
