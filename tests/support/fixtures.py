"""The fixtures of all tests: the web sites that crawls visit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.banning_site import BanningSite
from tests.support.shop import Shop
from tests.support.site import Site

__all__ = ["banning_process", "bans", "shop", "site", "site_process"]


@pytest.fixture(scope="session")
def site_process() -> Iterator[Site]:
    """The one process of the tests' site."""
    with Site() as running:
        yield running


@pytest.fixture
def site(site_process: Site) -> Site:
    """The tests' site, with a blank memory."""
    site_process.reset()
    return site_process


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


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that has had no visitor."""
    with Shop() as running:
        yield running
