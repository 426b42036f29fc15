"""What came of a world, and what must hold."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scrapy_sessions.settings import SessionsSettings
from tests.support.simulator.site import Asked, Reply, Site
from tests.support.simulator.world import World

__all__ = ["Outcome", "Totals"]

_DEFAULTS = SessionsSettings()
_RETRIES, _ATTEMPTS = _DEFAULTS.retry_times, _DEFAULTS.login_attempts


@dataclass
class Outcome:
    """What came of a world. Pages are ``"<number>/<step>"``."""

    world: World
    site: Site
    got: dict[str, str] = field(default_factory=dict)
    """Whose page it was."""
    handed_on: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """Pages that were not got although the site would have given them."""
    lost_with_witness: list[str] = field(default_factory=list)
    """Those of them that were lost while a witness was known."""
    ended: list[str] = field(default_factory=list)
    """Good accounts that were given up, and good visitors that were retired."""
    wrong: list[str] = field(default_factory=list)
    """Pages that came under another user than their session's."""
    stats: Counter[str] = field(default_factory=Counter)
    log: list[tuple[float, Asked, Reply]] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""

    @property
    def pages(self) -> int:
        """How many pages were asked for."""
        return len(self.got) + len(self.handed_on) + len(self.failed)

    def faults(self) -> list[str]:
        """What must not be, in words."""
        found = []
        if self.wrong or self.site.mixed:
            found.append(f"under a wrong user: {self.wrong or self.site.mixed}")
        if self.ended:
            found.append(f"wrongly ended: {self.ended}")
        if self.lost_with_witness and not self.world.is_short_lived:
            found.append(f"lost though a witness was known: {self.lost_with_witness}")
        if not self.world.logs_in and self.lost:
            found.append(f"lost: {self.lost}")
        return [*found, *self._too_many_logins(), *self._too_many_tries(), *self._too_many_requests()]

    def _too_many_logins(self) -> list[str]:
        world, site = self.world, self.site
        found = []
        for account, posts in site.login_posts.items():
            grown = math.log2(1 + self.seconds / 60)
            bound = site.expiries[account] + 1 + _ATTEMPTS + grown + site.vanished + world.busy + world.faults
            if not site.can_log_in(account):
                bound = _ATTEMPTS + world.busy + world.faults
            if posts > bound:
                found.append(f"account {account} was logged in {posts} times, at most {bound:.1f} are allowed")
        return found

    def _too_many_tries(self) -> list[str]:
        """Pages that are closed to everybody, and were sent too often."""
        world, site = self.world, self.site
        found = []
        for url, count in site.sent.items():
            if int(url.split("/")[4]) not in world.closed or world.foreign:
                continue
            if world.logs_in:
                bound = 2 * _RETRIES + 2 + sum(site.login_posts.values())
            elif world.banned_at:
                continue
            else:
                bound = 3 + len(site.refused_in[url]) + 1
            if count > bound:
                found.append(f"{url} was sent {count} times, at most {bound} are allowed")
        return found

    def _too_many_requests(self) -> list[str]:
        world = self.world
        if not world.banned_at:
            return []
        # Until the ban is noticed: what the sessions of the pool, and their successors, were refused.
        noticing = 3 * (world.size + max(world.size, 5) + world.concurrency)
        bans = 1 if not world.limit else 1 + world.pages // world.limit
        bound = 2 * world.pages + 4 * len(world.closed) + noticing * bans + self.seconds / 60 + self.site.questions
        return (
            [] if self.site.requests <= bound else [f"{self.site.requests} requests, at most {bound:.0f} are allowed"]
        )

    def story(self, lines: int = 60) -> str:
        """The first *lines* requests."""
        rows = []
        for now, asked, reply in self.log[:lines]:
            kind = "asks for" if asked.question else asked.method
            token = asked.cookies.get("auth") or asked.cookies.get("sid") or "-"
            rows.append(f"{now:9.2f} {asked.session or '-':8} {kind:8} {asked.url} {token} -> {reply.status}")
        return "\n".join(rows)

    def __str__(self) -> str:
        """The script that plays it again, and the numbers."""
        numbers: dict[str, Any] = {
            "got": len(self.got),
            "handed on": len(self.handed_on),
            "failed": dict(Counter(self.failed.values())),
            "lost": self.lost,
            "logins": dict(self.site.login_posts),
            "expiries": dict(self.site.expiries),
            "requests": self.site.requests,
            "questions": self.site.questions,
            "refusals": self.site.refusals,
            "seconds": round(self.seconds, 1),
        }
        script = f"from tests.support.simulator import World, play\nprint(play({self.world!r}).story())"
        return f"{script}\n# {numbers}"


class Totals(Counter[str]):
    """Sums over many worlds."""

    def add(self, outcome: Outcome) -> None:
        """Count *outcome*."""
        site = outcome.site
        self.update(
            {
                "worlds": 1,
                "pages": outcome.pages,
                "lost": len(outcome.lost),
                "lost with a witness": len(outcome.lost_with_witness),
                "ended": len(outcome.ended),
                "wrong": len(outcome.wrong) + len(site.mixed),
                "logins": sum(site.login_posts.values()),
                "expiries": sum(site.expiries.values()),
                "requests": site.requests,
                "questions": site.questions,
                "refusals": site.refusals,
                "sessions": outcome.stats["sessions/created"],
                "retired": outcome.stats["sessions/retired"],
            }
        )

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.items())
