"""The fixture ``bans``. Ask for it with ``pytest_plugins = ("tests.pools.fixtures",)``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pools import BanningSite

__all__ = ["banning_process", "bans"]


@pytest.fixture(scope="session")
def banning_process() -> Iterator[BanningSite]:
    """The one process of the banning site."""
    with BanningSite() as running:
        yield running


@pytest.fixture
def bans(banning_process: BanningSite) -> BanningSite:
    """The banning site, with a blank memory and no limit."""
    banning_process.reset()
    return banning_process
