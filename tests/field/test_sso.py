"""Single sign-on: the pages are on one host, the login form on another. Each can forget a user by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.application import Application, application
from tests.field.crawling import Run, run

USERS = ("alice", "boss")
PATHS = [f"/notes/{number}" for number in range(1, 31)]
CLOSED = [("alice", "/notes/13")]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Application, Application]]:
    """The provider, and the service, which is on the host ``localhost`` to the crawl."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        application(tmp_path / "provider", "sso_provider", f"http://localhost:{port}/callback") as provider,
        application(tmp_path / "service", "sso_service", str(port), provider.url) as service,
    ):
        yield provider, service


def crawled(folder: Path, service: Application) -> Run:
    site = service.url.replace("127.0.0.1", "localhost")
    done = run(folder, service, "sso.SingleSignOn", USERS, PATHS, FIELD_SITE=site)
    done.check(USERS, PATHS, without=CLOSED)
    return done


def test_the_login_is_on_another_host(tmp_path: Path, pair: tuple[Application, Application]) -> None:
    """The service counts who comes back from the provider; the provider counts passwords."""
    provider, service = pair
    service.log_out(USERS, after=10)
    first = crawled(tmp_path, service)
    assert first.counts.logins == dict.fromkeys(USERS, 2)
    assert provider.counts().logins == dict.fromkeys(USERS, 1)  # it knew them when they came back
    second = crawled(tmp_path, service)
    assert second.counts.logins == {}
    provider.log_out()
    service.log_out(USERS, after=10)
    third = crawled(tmp_path, service)
    assert third.counts.logins == dict.fromkeys(USERS, 1)
    assert provider.counts().logins == dict.fromkeys(USERS, 1)
