"""``{token}`` in the proxy of a profile: each session has an exit of its own, and keeps it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.settings import SessionsSettings

PROXY = "http://customer-{token}:password@proxy.test:8000"


def settings(proxy: str) -> SessionsSettings:
    return SessionsSettings.from_settings({"SESSIONS_PROFILES": {"sticky": {"proxy": proxy}}})


async def test_each_session_keeps_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A token has eight letters and digits; it is saved with the session, and no change of the profile."""
    found = {}
    for _ in range(2):
        async with SessionManager(tmp_path / "s.db", settings=settings(PROXY)) as manager:
            for number in range(20):
                session = await manager.get(f"s{number}")
                assert session.proxy is not None
                session.record("used")  # a session that nobody has used is not saved
                assert found.setdefault(session.id, session.proxy) == session.proxy
    assert len(set(found.values())) == 20
    for proxy in found.values():
        start, _, rest = PROXY.partition("{token}")
        token = proxy.removeprefix(start).removesuffix(rest)
        assert len(token) == 8
        assert token.isalnum()
        assert token == token.lower()
    assert "keeps the identity" not in caplog.text


@pytest.mark.parametrize("proxy", ["http://other-{token}:password@proxy.test:8000", "http://proxy.test:8000"])
async def test_another_proxy_is_a_change(tmp_path: Path, caplog: pytest.LogCaptureFixture, proxy: str) -> None:
    """A session that was created with another proxy keeps it, and a warning says so."""
    caplog.set_level(logging.WARNING)
    async with SessionManager(tmp_path / "s.db", settings=settings(PROXY)) as manager:
        session = await manager.get("alice")
        before = session.proxy
        session.record("used")
    async with SessionManager(tmp_path / "s.db", settings=settings(proxy)) as manager:
        assert (await manager.get("alice")).proxy == before
    assert "keeps the identity that it was created with" in caplog.text
