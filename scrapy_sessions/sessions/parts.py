"""A session encoded in parts."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Parts"]


class Parts(NamedTuple):
    """A session encoded: what was last saved of it, as the base of a merge.

    The bytes are shared with the live session as long as it doesn't change, so that this costs next to nothing.

    :param settled: the fields that hardly ever change, as the inside of a JSON object
    :param moving: those that change with every request
    :param cookies: as the inside of a JSON array
    :param actions: how many actions there had been, those dropped included; the actions themselves the session has
    """

    settled: bytes
    moving: bytes
    cookies: bytes
    actions: int

    def body(self, history: bytes) -> bytes:
        """Return the record as JSON, with *history*, the inside of an array, as its actions."""
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
