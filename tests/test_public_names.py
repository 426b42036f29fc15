"""What can be imported from the package itself."""

from __future__ import annotations

import pytest

import scrapy_sessions


def test_public_names_are_sorted() -> None:
    """``__all__`` is in order, and ``dir()`` shows all of it."""
    assert scrapy_sessions.__all__ == sorted(scrapy_sessions.__all__)
    assert set(scrapy_sessions.__all__) <= set(dir(scrapy_sessions))


@pytest.mark.parametrize("name", scrapy_sessions.__all__)
def test_public_name_is_importable(name: str) -> None:
    """Each name is found in its module, at first use and afterwards."""
    vars(scrapy_sessions).pop(name, None)
    first = getattr(scrapy_sessions, name)
    assert getattr(scrapy_sessions, name) is first


def test_types_of_annotations_are_public() -> None:
    """What a spider and its ``login()`` annotate comes from the package itself."""
    assert {"BrowserSession", "Fetch", "SessionInfo", "SpiderSessions"} <= set(scrapy_sessions.__all__)
