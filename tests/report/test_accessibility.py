"""The page passes axe-core in a real browser: contrast, names, order and keyboard, as far as a program can tell.

Its tables are complete at the width of a desktop and of a phone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.report import build
from tests.support.browser import MISSING, chromium, shown
from tests.support.report_stores import NOW, empty, example

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

WINDOWS: dict[str, dict[str, Any]] = {
    "light": {"width": 1300},
    "dark": {"width": 1300, "color_scheme": "dark"},
    "phone": {"width": 390, "height": 844, "has_touch": True},
}
_OPENED = "document.querySelectorAll('details').forEach((element) => { element.open = true; })"
_UNREACHED = """() => [...document.querySelectorAll(".scroll")].filter((element) => element.tabIndex !== 0
  || element.getAttribute("role") !== "region" || !element.getAttribute("aria-label")).length"""
_CLIPPED = """() => [...document.querySelectorAll(".scroll")]
  .filter((element) => element.scrollWidth > element.clientWidth)
  .map((element) => element.getAttribute("aria-label"))"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What axe-core finds in the example's page in each window, and in the page of an empty store."""
    return asyncio.run(_check(tmp_path_factory.mktemp("report")))


async def _check(folder: Path) -> dict[str, list[str]]:
    file, blank = folder / "report.html", folder / "empty.html"
    async with example() as store:
        file.write_text(await build(store, now=NOW), encoding="utf-8")
    blank.write_text(await build(empty(), now=NOW), encoding="utf-8")
    found: dict[str, list[str]] = {}
    async with chromium() as browser:
        for name, options in WINDOWS.items():
            async with shown(browser, file, **options) as it:
                await it.page.evaluate(_OPENED)
                assert await it.page.evaluate(_UNREACHED) == 0
                found[name] = await _violations(it.page)
                found[f"{name} clipped"] = await it.page.evaluate(_CLIPPED)
        async with shown(browser, blank) as it:
            found["empty"] = await _violations(it.page)
        async with shown(browser, file) as it:
            await it.page.evaluate("document.querySelector('h1').style.color = '#ddd'")
            found["spoilt"] = await _violations(it.page)
    return found


async def _violations(page: Any) -> list[str]:
    from axe_playwright_python.async_playwright import Axe  # noqa: PLC0415  # it imports playwright

    response = (await Axe().run(page)).response
    assert len(response["passes"]) > 10
    return [
        f"{violation['id']}: {node['target']}" for violation in response["violations"] for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", [*WINDOWS, "empty"])
def test_nothing_is_found(found: dict[str, list[str]], name: str) -> None:
    """axe-core finds no fault in the page, with all tables open."""
    assert found[name] == []


@pytest.mark.parametrize("name", [*WINDOWS])
def test_no_column_is_clipped(found: dict[str, list[str]], name: str) -> None:
    """Every table fits into its section: no column has to be scrolled to."""
    assert found[f"{name} clipped"] == []


def test_faults_are_found(found: dict[str, list[str]]) -> None:
    """axe-core finds text of too little contrast: the check can fail."""
    assert [fault.partition(":")[0] for fault in found["spoilt"]] == ["color-contrast"]
