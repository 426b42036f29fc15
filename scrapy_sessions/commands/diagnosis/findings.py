"""The result of a check."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One finding of ``scrapy sessions doctor``.

    :param level: ``"error"``: sessions are lost, exposed or don't work; ``"warning"``: they work, but not as expected
    :param remedy: what to do about it; empty if there is nothing to do
    """

    level: Literal["ok", "warning", "error"]
    check: str
    text: str
    remedy: str = ""


ok = partial(Finding, "ok")
warning = partial(Finding, "warning")
error = partial(Finding, "error")
