"""What a check finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Finding", "ok", "warning", "wrong"]


class Finding(NamedTuple):
    """One finding of ``scrapy sessions doctor``.

    :param level: ``"wrong"``: sessions are lost, exposed or don't work; ``"warning"``: something to know of
    :param remedy: what to do about it; empty if nothing is to be done
    """

    check: str
    level: Literal["ok", "warning", "wrong"]
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """Return a finding of something that is in order."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Return a finding of something to know of."""
    return Finding(check, "warning", text, remedy)


def wrong(check: str, text: str, remedy: str) -> Finding:
    """Return a finding of something that has to be mended."""
    return Finding(check, "wrong", text, remedy)
