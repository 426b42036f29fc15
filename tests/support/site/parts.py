"""What the parts of the site have in common: replies, a journal, controls, and answers that wait for other requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from twisted.web.http import Request

from tests.support.site.records import Journal

__all__ = ["DROP", "Part", "Reply", "argument", "as_json"]

ALLOW_ALL = b"User-agent: *\nAllow: /\n"


@dataclass
class Reply:
    """An answer before it is shaped. ``headers`` may repeat a name; it is sent after ``seconds``, never if ``held``."""

    body: bytes = b""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    held: bool = False


DROP = Reply()
"""In place of an answer: close the connection."""


def argument(request: Request, name: str) -> str | None:
    """The first query (or form) parameter *name*, as Latin-1 text; ``None``: not given."""
    values = (request.args or {}).get(name.encode())
    return values[0].decode("latin-1") if values else None


def as_json(content: Any) -> Reply:
    return Reply(json.dumps(content).encode(), "application/json")


class Part:
    """Pages on a port of their own. Controls: ``GET /_journal``, ``POST /_reset``, ``/_rules`` and ``/_robots``."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.journal = Journal()
        self.robots = Reply(ALLOW_ALL, "text/plain")

    def control(self, request: Request) -> Reply:
        """Answer a control: one that reads is a GET, one that changes is a POST."""
        assert request.content is not None
        request.content.seek(0)
        body = request.content.read()
        match request.method, request.path:
            case b"GET", b"/_journal":
                return as_json(self.journal.content())
            case b"POST", b"/_reset":
                self.reset()
            case b"POST", b"/_rules":
                for name, value in json.loads(body).items():
                    setattr(self, name, value)
            case b"POST", b"/_robots":
                self.robots = Reply(body, "text/plain", int(argument(request, "status") or 200))
            case _:
                return Reply(b"No such control", "text/plain", 404)
        return as_json(None)

    def arrive(self, request: Request, entry: dict[str, Any]) -> None:
        """Take note of *request*, whose *entry* is in the journal."""

    def may_answer(self, request: Request, entry: dict[str, Any]) -> bool:
        """Whether what the answer waits for has come: for each ``until=<n>:<path>``, n requests for such paths."""
        for condition in (request.args or {}).get(b"until", ()):
            number, _, path = condition.decode("latin-1").partition(":")
            if self.journal.count(path) < int(number):
                return False
        return True

    def seconds(self, request: Request) -> float:
        """How long the answer takes once it may be given."""
        return int(argument(request, "ms") or 0) / 1000

    def page(self, request: Request, entry: dict[str, Any]) -> Reply:
        """The answer to *request*."""
        raise NotImplementedError
