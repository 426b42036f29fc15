"""The part of the site with a login: :mod:`tests.support.site.login`."""

from __future__ import annotations

import json
from typing import Any

from tests.support.site import HOST, Arrival, Site

__all__ = ["Shop"]

_PART = 2


class Shop:
    """A handle on that part of *site*."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def reset(self) -> None:
        """Forget everything."""
        self._call("POST", "/_reset")

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self._site.ports[_PART]}{path}"

    def rules(self, **rules: Any) -> None:
        """Go by *rules* from now on: ``denial``, ``hanging``, ``login_ms``, ``refusals``."""
        self._call("POST", "/_rules", json.dumps(rules).encode())

    def robots(self, body: str) -> None:
        """Answer ``/robots.txt`` with *body*."""
        self._call("POST", "/_robots", body.encode())

    def expire(self) -> None:
        """Forget who is logged in."""
        self._call("POST", "/_expire")

    def forget(self) -> None:
        """Forget what came."""
        self._call("POST", "/_forget")

    @property
    def users(self) -> dict[str, str]:
        """Who is logged in, by the token that says so."""
        users: dict[str, str] = self._call("GET", "/_users")
        return users

    @property
    def arrivals(self) -> list[Arrival]:
        """What came, oldest first."""
        return [Arrival.of(entry) for entry in self._site.entries(_PART)]

    def came(self, prefix: str, method: str | None = None) -> list[Arrival]:
        """What came for paths that begin with *prefix*, oldest first."""
        return [each for each in self.arrivals if each.path.startswith(prefix) and method in (None, each.method)]

    @property
    def logins(self) -> int:
        """How often somebody tried to log in."""
        return sum(
            each.path.startswith("/token") or (each.path.startswith("/login") and each.method == "POST")
            for each in self.arrivals
        )

    def answered(self, prefix: str, status: int) -> set[str]:
        """The paths under *prefix* that were answered with *status*."""
        return {each.path for each in self.came(prefix) if each.status == status}

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        return self._site.call(method, path, body, part=_PART)
