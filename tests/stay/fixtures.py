"""The fixture ``shop``. Ask for it with ``pytest_plugins = ("tests.stay.fixtures",)``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stay.shop import Shop

__all__ = ["shop"]


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop that nobody has been to."""
    with Shop() as running:
        yield running
