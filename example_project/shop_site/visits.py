"""Sessions as the shop sees them: one per cookie, in memory, and the counts that ``/stats`` shows."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Stats", "Visit", "Visits"]


@dataclass
class Visit:
    """One session. ``user_agent`` is the first one it came with; ``mixed``: this request came with another."""

    sid: str
    user_agent: str
    csrf: str
    user: str | None = None
    basket: Counter[int] = field(default_factory=Counter)
    mixed: bool = False
    pages: int = 0


@dataclass
class Stats:
    """Counts since the server started.

    ``mixed_identities``: requests of a session with another user agent. ``expired``: sessions logged out by
    ``/admin/expire``. ``refused``: requests of sessions that ``/admin/ban`` has shut out.
    """

    requests: int = 0
    sessions: int = 0
    logins: int = 0
    failed_logins: int = 0
    mixed_identities: int = 0
    expired: int = 0
    refused: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Visits:
    """All sessions, by the value of their cookie.

    :param scripted: whether a login needs a proof, which a script in the form makes
    """

    def __init__(self, *, scripted: bool = False) -> None:
        self.scripted = scripted
        self.stats = Stats()
        self._visits: dict[str, Visit] = {}
        self._expiring: dict[str, int] = {}  # by user: pages until the logout
        self._allowed = 0  # pages that a session may read; 0: no limit

    def arrive(self, sid: str | None, user_agent: str) -> tuple[Visit, bool]:
        """Return the session of *sid* and False, or, if there is none, a new one and True."""
        visit = self._visits.get(sid or "")
        if visit is None:
            self.stats.sessions += 1
            visit = Visit(secrets.token_urlsafe(16), user_agent, secrets.token_urlsafe(16))
            self._visits[visit.sid] = visit
            return visit, True
        visit.mixed = user_agent != visit.user_agent
        self.stats.mixed_identities += visit.mixed
        return visit, False

    def log_in(self, visit: Visit, user: str) -> None:
        """Make *visit* a session of *user*, under a new cookie and token: whoever knew the old ones is left out."""
        self.stats.logins += 1
        del self._visits[visit.sid]
        visit.sid, visit.csrf = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        visit.user = user
        self._visits[visit.sid] = visit

    def expire(self, user: str, after: int) -> None:
        """Log *user* out, once *after* more pages have been read as this user."""
        self._expiring[user] = after

    def ban(self, after: int) -> None:
        """Shut out every session that has read *after* pages; 0: none."""
        self._allowed = after

    def is_banned(self, visit: Visit) -> bool:
        """Count a page of *visit*, and say whether it is one too many."""
        visit.pages += 1
        banned = 0 < self._allowed < visit.pages
        self.stats.refused += banned
        return banned

    def count_down(self, visit: Visit) -> None:
        """Log *visit* out if its time has come."""
        if visit.user is None or visit.user not in self._expiring:
            return
        self._expiring[visit.user] -= 1
        if self._expiring[visit.user] < 0:
            del self._expiring[visit.user]
            visit.user = None
            self.stats.expired += 1

    def end(self, visit: Visit) -> None:
        """Forget *visit*, and its basket with it."""
        del self._visits[visit.sid]
