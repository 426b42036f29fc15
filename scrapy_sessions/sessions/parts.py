"""A session encoded in parts."""

from __future__ import annotations

from typing import NamedTuple

from scrapy_sessions.safe_repr import safe_repr


class Parts(NamedTuple):
    """An encoded session. The one that was saved last is the base of a merge.

    The bytes are shared with the live session as long as it doesn't change, so that keeping it costs little.

    :param settled: the fields that hardly ever change, as the inside of a JSON object
    :param moving: the fields that change with every request, likewise
    :param cookies: the inside of a JSON array
    :param stamps: those of the row
    :param actions: the number of actions, including dropped ones; the session has the actions themselves
    """

    settled: bytes
    moving: bytes
    cookies: bytes
    stamps: str
    actions: int

    def __repr__(self) -> str:
        return safe_repr(self, "actions")

    def body(self, history: bytes) -> bytes:
        """Return the record as JSON. *history* is the inside of the array of its actions."""
        return b"".join(
            (
                b"{",
                self.moving,
                b",",
                self.settled,
                b',"cookies":[',
                self.cookies,
                b'],"actions_performed":[',
                history,
                b"]}",
            )
        )
