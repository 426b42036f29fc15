"""The fixture ``site``. Ask for it with ``pytest_plugins = ("tests.site.fixtures",)``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.site import Site

__all__ = ["site", "site_process"]


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
