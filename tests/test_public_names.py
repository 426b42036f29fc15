"""What can be imported from the package itself."""

from __future__ import annotations

import gc

import pytest

import scrapy_sessions
from scrapy_sessions.models import Cookie


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


@pytest.mark.parametrize("collecting", [True, False])
def test_loading_a_module_leaves_the_garbage_collector_as_it_was(*, collecting: bool) -> None:
    """It rests only meanwhile, also if the module can't be loaded."""
    before = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        vars(scrapy_sessions).pop("Cookie", None)
        assert scrapy_sessions.Cookie is Cookie
        assert gc.isenabled() is collecting
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(scrapy_sessions._MODULES, "Cookie", "missing")
            vars(scrapy_sessions).pop("Cookie", None)
            with pytest.raises(ModuleNotFoundError):
                _ = scrapy_sessions.Cookie
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()


def test_types_of_annotations_are_public() -> None:
    """What a spider and its ``login()`` annotate comes from the package itself."""
    assert {"BrowserSession", "Fetch", "SessionInfo", "SpiderSessions"} <= set(scrapy_sessions.__all__)
