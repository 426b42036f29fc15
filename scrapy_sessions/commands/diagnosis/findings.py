"""The result of a check."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Finding", "error", "ok", "warning"]


class Finding(NamedTuple):
    """One finding of ``scrapy sessions doctor``.

    :param level: ``"error"``: sessions are lost, exposed or don't work; ``"warning"``: they work, but not as expected
    :param remedy: what to do about it; empty if there is nothing to do
    """

    check: str
    level: Literal["ok", "warning", "error"]
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that needs attention."""
    return Finding(check, "warning", text, remedy)


def error(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that has to be repaired."""
    return Finding(check, "error", text, remedy)
