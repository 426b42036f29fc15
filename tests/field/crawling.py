"""Crawls of an application, and what must have arrived of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.field.application import Application, Counts
from tests.support.crawl import Crawl, Job, crawl_jobs

__all__ = ["Run", "run"]

PASSWORDS = {"alice": "wonderland", "bob": "builder", "boss": "corner office"}
CREDENTIALS = {f"PASSWORD_OF_{user}": password for user, password in PASSWORDS.items()}


@dataclass(frozen=True)
class Run:
    """What a crawl yielded, and what the application counted meanwhile."""

    crawl: Crawl
    counts: Counts

    @property
    def pages(self) -> list[tuple[str, str]]:
        """Session and path of each page that arrived as it should: itself, and showing the user of the session."""
        return sorted((item["session"], item["path"]) for item in self.crawl.items if _is_good(item))

    @property
    def others(self) -> list[dict[str, Any]]:
        """The items of everything else."""
        return [item for item in self.crawl.items if not _is_good(item)]

    def check(self, users: Iterable[str], paths: Iterable[str], *, without: Iterable[tuple[str, str]] = ()) -> None:
        """Check that each page arrived once, in the session that asked for it, but for *without*, and no login failed.

        The pages *without* must have been handed on once, too.
        """
        closed = set(without)
        expected = {(user, path) for user in users for path in paths} - closed
        assert self.pages == sorted(expected), self._report(sorted(expected ^ set(self.pages)))
        assert {(item["session"], item["path"]) for item in self.others} == closed, self._report(self.others)
        assert len(self.others) == len(closed), self._report(self.others)
        assert not any("failure" in item for item in self.others), self._report(self.others)
        assert "LoginFailed" not in self.crawl.log

    def _report(self, wrong: object) -> str:
        return f"{wrong}\nlogins: {self.counts.logins}\n{self.crawl.log[-20000:]}"


def _is_good(item: dict[str, Any]) -> bool:
    return item.get("status") in {200, 201} and item["user"] == item["session"] and item["shown"] == item["path"]


def run(
    folder: Path,
    app: Application,
    spider: str,
    users: Iterable[str],
    paths: Iterable[str],
    *,
    environment: Mapping[str, str] = CREDENTIALS,
    **settings: Any,
) -> Run:
    """Crawl with the class *spider* of :mod:`tests.field.spiders`, with the sessions of the run before."""
    app.counts()  # forget what came before
    (done,) = crawl_jobs(
        folder,
        Job(f"tests.field.spiders.{spider}"),
        environment=environment,
        SESSIONS_STORE=f"sqlite:///{folder / 'sessions.db'}",
        **{
            "CONCURRENT_REQUESTS_PER_DOMAIN": 8,  # Scrapy's default
            "FIELD_SITE": app.url,
            "FIELD_USERS": list(users),
            "FIELD_PATHS": list(paths),
            "SESSIONS_CREDENTIALS": ["env:PASSWORD_OF_{session_id}"],
            **settings,
        },
    )
    return Run(done, app.counts())
