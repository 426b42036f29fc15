"""A project of its own for ``scrapy shell`` and ``scrapy fetch``, each in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from scrapy_sessions import PersistentSession, SessionManager
from tests.support.crawl import ENVIRONMENT
from tests.support.site import Site
from tests.support.waiting import HANG

__all__ = ["KILL", "Project", "Prompt", "names"]

KILL = "__import__('os').kill(__import__('os').getpid(), 9)"
"""Code for the prompt: it ends here, and nothing is told to anybody."""

_FILES = {
    "scrapy.cfg": "[settings]\ndefault = settings\n",
    "settings.py": """
ADDONS = {"scrapy_sessions.SessionsAddon": 300}
SPIDER_MODULES = ["spiders"]
TELNETCONSOLE_ENABLED = False
RETRY_ENABLED = False
""",
    "spiders.py": """
import os

from scrapy import FormRequest, Request, Spider

from scrapy_sessions import SessionConfig


class Shop(SessionConfig):
    async def login(self, session, fetch):
        response = await fetch(FormRequest(os.environ["SITE"] + "/login", formdata={"user": session.id}))
        return response.status == 200


class ShopSpider(Spider):
    name = "shop"
    session_config = Shop


class PlainSpider(Spider):
    name = "plain"
    pages = 0  # the shell of Scrapy 2.13 to 2.16 sends these requests, too

    async def start(self):
        for n in range(int(self.pages)):
            yield Request(f"{os.environ['SITE']}/answer?set=crawl{n}=1", dont_filter=True)
""",
}


class Project:
    """A Scrapy project in *folder*: its spider ``shop`` logs in to *site*, ``plain`` collects a cookie a page."""

    def __init__(self, folder: Path, site: Site, *, mode: str = "asyncio") -> None:
        self.folder = folder
        self.site = site
        folder.mkdir(exist_ok=True)
        for name, text in _FILES.items():
            (folder / name).write_text(text)
        self._options = ["-s", "TWISTED_REACTOR_ENABLED=False"] if mode == "reactorless" else []

    def start(self, command: str, *arguments: str, log: bool = False) -> subprocess.Popen[str]:
        """Start ``scrapy command``, with pipes; in the session alice, unless *arguments* name another."""
        words = [sys.executable, "-m", "scrapy", command, "-s", "SESSIONS_DEFAULT_ID=alice", *self._options, *arguments]
        environment = {name: value for name, value in ENVIRONMENT.items() if not name.lower().endswith("_proxy")}
        return subprocess.Popen(
            words if log else [*words, "--nolog"],
            cwd=self.folder,
            env={**environment, "SITE": self.site.url(""), "SCRAPY_PYTHON_SHELL": "python"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str, status: int = 0, log: bool = False) -> tuple[str, str]:
        """Run it to its end and return its output, and its log."""
        process = self.start(command, *arguments, log=log)
        try:
            output, errors = process.communicate(timeout=HANG)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == status, output + errors
        return output, errors

    def record(self, session_id: str = "alice", spider: str = "shop") -> PersistentSession:
        """What the store has of *session_id* now."""
        found = self.find(session_id, spider)
        assert found is not None
        return found

    def find(self, session_id: str, spider: str = "shop") -> PersistentSession | None:
        """As :meth:`record`; ``None`` if it has nothing."""

        async def read() -> PersistentSession | None:
            async with SessionManager(self.folder / ".scrapy" / "sessions", namespace=spider) as manager:
                return await manager.load_session(session_id)

        return asyncio.run(read())


class Prompt:
    """Somebody at the prompt of ``scrapy shell``, who has *arguments* typed after it."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self._process = project.start("shell", *arguments)

    def __enter__(self) -> Prompt:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def say(self, *lines: str) -> str:
        """Type *lines*, and return what the last of them prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        last = f"print('said:', {lines[-1]})"
        self._process.stdin.write("\n".join([*lines[:-1], last, ""]))
        self._process.stdin.flush()
        for line in self._process.stdout:
            _, said, answer = line.partition("said: ")
            if said:
                return answer.rstrip("\n")
        assert self._process.stderr is not None
        raise AssertionError(self._process.stderr.read())

    def leave(self) -> None:
        """End the input, as Ctrl-D does, and wait for the end of the shell."""
        _, errors = self._process.communicate(timeout=HANG)
        assert self._process.returncode == 0, errors


def names(record: PersistentSession) -> list[str]:
    """The names of the cookies of *record*, sorted."""
    return sorted(cookie.name for cookie in record.cookies)
