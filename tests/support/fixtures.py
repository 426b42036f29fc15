"""The fixtures of all tests: the web sites that crawls visit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.bans import BanningSite
from tests.support.shop import Shop
from tests.support.site import Site

__all__ = ["bans", "shop", "site", "site_process"]


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


@pytest.fixture
def bans(site_process: Site) -> BanningSite:
    """The part of the site that bans visitors, with a blank memory and no limit."""
    bans = BanningSite(site_process)
    bans.reset()
    return bans


@pytest.fixture
def shop(site_process: Site) -> Shop:
    """The part of the site with a login, with a blank memory."""
    shop = Shop(site_process)
    shop.reset()
    return shop
