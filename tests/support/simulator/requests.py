"""A request as the site sees it, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Asked", "Reply"]


@dataclass(frozen=True)
class Asked:
    """``question``: whether it was sent to learn something; ``session``: the session that it belongs to."""

    method: str
    url: str
    cookies: Mapping[str, str]
    body: str = ""
    question: bool = False
    session: str = ""


@dataclass(frozen=True)
class Reply:
    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False
