"""``SESSIONS_NOTIFY_COMMAND`` is told of lost and failed logins, and of retirements."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scrapy.http import Response

from scrapy_sessions import BrowserSession, LoginRejected
from scrapy_sessions.crawl import notify
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, pages, stat

FEW = [{"path": f"/secret/{number}"} for number in range(4)]
APPEND = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"


class Refused(LogsIn):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        raise LoginRejected("the account is locked")


class Retires(LogsIn):
    def check(self, response: Response, request: Any) -> Any:
        return super().check(response, request)

    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await super().login(session, fetch)
        if session.generation > 1:
            session.retire("enough; it's over")


def appending_to(path: Path) -> str:
    return shlex.join([sys.executable, "-c", APPEND, str(path)])


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_login_that_fails(shop: Shop, tmp_path: Path) -> None:
    """Each attempt is an event, in its order, all of them before the crawl has ended."""
    settings = {"SESSIONS_NOTIFY_COMMAND": appending_to(tmp_path / "events"), "SESSIONS_LOGIN_ATTEMPTS": 2}
    await buy(shop, settings, FEW, Refused)
    first, second = events(tmp_path / "events")
    assert first == {
        "event": "login_failed",
        "session_id": "alice",
        "namespace": "buyer",
        "pool": None,
        "spider": "buyer",
        "reason": "the account is locked",
        "time": pytest.approx(time.time(), abs=600),
    }
    assert second["time"] >= first["time"]


async def test_a_login_that_is_lost(shop: Shop, tmp_path: Path) -> None:
    """The site forgets a session, which then logs in again and is retired: two events, without the URL's values."""
    paths = [{"path": "/secret/1?forget=1"}, {"path": "/secret/2"}]
    settings = {"SESSIONS_NOTIFY_COMMAND": appending_to(tmp_path / "events"), "CONCURRENT_REQUESTS": 1}
    await buy(shop, settings, paths, Retires)
    lost, retired = events(tmp_path / "events")
    assert (lost["event"], retired["event"]) == ("login_lost", "retired")
    assert "/secret/2" in lost["reason"]
    assert retired["reason"] == "enough; it's over"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-program --at-all", "(no-such-program) failed: No such file or directory"),
        (shlex.join([sys.executable, "-c", "import sys; sys.exit(3)"]), "failed: it ended with status 3"),
        (shlex.join([sys.executable, "-c", "import time; time.sleep(60)"]), "failed: it took longer than 0.5 s"),
    ],
)
async def test_a_command_that_fails(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str, reason: str
) -> None:
    """Each failure is logged in one line and counted, and the crawl goes on."""
    monkeypatch.setattr(notify, "_TIMEOUT", 0.5)
    settings = {"SESSIONS_NOTIFY_COMMAND": command, "CONCURRENT_REQUESTS": 1}
    crawler = await buy(shop, settings, [{"path": "/secret/1?forget=1"}, {"path": "/secret/2"}])
    assert len(pages(crawler)) == 2
    assert reason in caplog.text
    assert stat(crawler, "notify_errors") == 1


async def test_a_command_that_never_ends(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a crawl waits a while for the commands, and not for ever; too many events are dropped."""
    monkeypatch.setattr(notify, "_LAST", 0.5)
    monkeypatch.setattr(notify, "_MOST_WAITING", 1)
    command = shlex.join([sys.executable, "-c", "import time; time.sleep(60)"])
    settings = {"SESSIONS_NOTIFY_COMMAND": command, "SESSIONS_LOGIN_ATTEMPTS": 4}
    await buy(shop, settings, FEW, Refused)
    assert "events are left at the end of the crawl" in caplog.text
    assert "1 events wait for it, so this one is dropped" in caplog.text


async def test_an_event_that_cant_be_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """An unexpected fault costs one event, and not those after it."""
    counted: list[str] = []
    notifier = notify.Notifier(appending_to(tmp_path / "events"), counted.append)
    notifier.notify(event=object())
    notifier.notify(event="retired")
    await notifier.close()
    assert events(tmp_path / "events") == [{"event": "retired"}]
    assert counted == ["notify_errors"]
    assert "failed: TypeError" in caplog.text
