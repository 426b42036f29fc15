"""Processes that are killed and paused at any moment share a pool: no session is held twice, none is blocked.

``CLAIMS`` is how many claims are taken; ``tox -e long`` takes more.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.claimers import SESSIONS, check, claim_all, race
from tests.support.redis_server import RedisServer

CLAIMS = int(os.environ.get("CLAIMS", "2000"))

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here, and no SIGKILL")]


def claim_in_processes(url: str, journal: Path) -> None:
    kills, pauses = race(url, journal, CLAIMS)
    outcomes = check(journal)
    assert min(kills, pauses) >= 1
    assert outcomes["fenced"] >= 1  # by a pause that was longer than the lease
    assert asyncio.run(claim_all(url)) == sorted(SESSIONS)


def test_sqlite(tmp_path: Path) -> None:
    """On one file."""
    claim_in_processes(f"sqlite:///{tmp_path / 's.db'}", tmp_path / "journal")


def test_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    """On a server."""
    claim_in_processes(redis_server.url, tmp_path / "journal")
