"""The page in a real browser."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scrapy_sessions.report import build
from tests.support.browser import MISSING, chromium, shown
from tests.support.docs_pages import DOCS, page_named, text_of
from tests.support.report_stores import NOW, empty, example, record, save

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

PHONE = {"width": 390, "height": 844, "has_touch": True}
PICTURES = {"report-light.png": (1240, 245), "report-dark.png": (1240, 15), "report-phone.png": (780, 245)}

_LOOK = """() => {
  const box = (element) => element.getBoundingClientRect();
  const inside = (element) => !element.closest(".scroll, nav");
  const texts = [...document.querySelectorAll("svg.plot text.tick")].map(box);
  return {
    page: [document.documentElement.scrollWidth, innerWidth],
    wide: [...document.querySelectorAll("body *")].filter(inside).filter((e) => box(e).right > innerWidth + 1)
      .map((e) => e.outerHTML.slice(0, 90)),
    bars: [...document.querySelectorAll("#traffic .plot rect.f")].map((e) => [box(e).width, box(e).height]),
    lanes: [...document.querySelectorAll("#timeline .plot rect.f")].map((e) => [box(e).width, box(e).height]),
    marks: document.querySelectorAll("#timeline .plot .mark").length,
    points: [...document.querySelectorAll("#logins .chart circle")].map((e) => {
      const point = box(e), plot = box(e.closest("svg"));
      return [point.width, point.left - plot.left, plot.right - point.right, point.top - plot.top,
        getComputedStyle(e).fill];
    }),
    curves: [...document.querySelectorAll("#survival .plot path")].map((e) => [box(e).width, box(e).height]),
    meets: texts.filter((a, n) => texts.some((b, m) => m > n && Math.abs(a.y - b.y) < 3
      && a.left < b.right && b.left < a.right)).length,
    unnamed: [...document.querySelectorAll("svg[role=img]")].filter((e) => !e.getAttribute("aria-label")).length,
    sections: [...document.querySelectorAll("section")].map((e) => e.id),
  };
}"""
_ROWS = """(name) => [...document.querySelectorAll(`#table-${name} tbody tr`)].filter((row) => row.offsetHeight)
  .map((row) => [...row.cells].map((cell) => cell.dataset.v))"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen of the example's page: the browser is started once, for all tests of this module."""
    return asyncio.run(_see(tmp_path_factory.mktemp("report")))


async def _see(folder: Path) -> dict[str, Any]:
    file, blank = folder / "report.html", folder / "empty.html"
    async with example() as store:
        await save(store, *(record(f"idle-{n}", pool=f"p-{n}", pages_visited=n) for n in range(60)))
        file.write_text(await build(store, now=NOW), encoding="utf-8")
    blank.write_text(await build(empty(), now=NOW), encoding="utf-8")
    found: dict[str, Any] = {"said": [], "requests": []}
    async with chromium() as browser:
        for name, options in (("light", {}), ("dark", {"color_scheme": "dark"}), ("phone", PHONE)):
            async with shown(browser, file, **options) as it:
                found[name] = await it.page.evaluate(_LOOK)
                found[f"{name}.png"] = await it.page.screenshot()
                if name == "light":
                    found |= await _use(it.page)
                if name == "phone":
                    found["cards"] = await it.page.locator("#table-sessions tbody tr:visible").count()
                    await it.page.select_option('[data-sort="sessions"]', label="Pages, highest first")
                    found["phone sorted"] = await it.page.evaluate(_ROWS, "sessions")
                found["said"] += it.said
                found["requests"] += it.requests
        async with shown(browser, file, java_script_enabled=False) as it:
            found["plain.png"] = await it.page.screenshot(full_page=True)
            found["plain tools"] = await it.page.locator(".tools:visible, #theme:visible, .more:visible").count()
            found["plain rows"] = await it.page.locator("#table-sessions tbody tr:visible").count()
        async with shown(browser, blank) as it:
            found["empty"] = await it.page.inner_text("main")
            found["said"] += it.said
    return found


async def _use(page: Any) -> dict[str, Any]:
    """Use the page as a reader with a keyboard does."""
    used: dict[str, Any] = {}
    used["first"] = await page.evaluate(_ROWS, "sessions")
    await page.click("#sessions .more")
    used["all"] = len(await page.evaluate(_ROWS, "sessions"))
    await page.locator("#table-pools thead button", has_text="Pages").click()
    used["descending"] = await page.evaluate(_ROWS, "pools")
    await page.keyboard.press("Enter")  # the button that was clicked has the focus
    used["ascending"] = await page.evaluate(_ROWS, "pools")
    used["arrow"] = await page.get_attribute("#table-pools th[aria-sort]", "aria-sort")
    await page.locator("#table-pools thead button").first.focus()
    await page.keyboard.press("Space")
    used["names"] = [row[0] for row in await page.evaluate(_ROWS, "pools")]
    await page.fill('[data-filter="sessions"]', "RETIRED catalog#1")
    used["filtered"] = [row[0] for row in await page.evaluate(_ROWS, "sessions")]
    used["counted"] = await page.inner_text('[data-count="sessions"]')
    used["time"] = await page.get_attribute("header time", "title")
    used["bar"] = await page.locator("#traffic g[data-from] title").first.text_content()
    used["background"] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.click("#theme")
    used["toggled"] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.click("#theme")
    used["back"] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return used


def background(picture: bytes) -> int:
    """How light the page beside its content is, from 0 to 255."""
    pixel = Image.open(io.BytesIO(picture)).convert("L").getpixel((3, 300))
    assert isinstance(pixel, int)
    return pixel


@pytest.mark.parametrize("name", ["light", "dark", "phone"])
def test_charts_are_drawn(seen: dict[str, Any], name: str) -> None:
    """Bars, lanes, marks, points and curves have a size, every chart has a name, no label runs into another."""
    look = seen[name]
    assert len(look["bars"]) > 150
    assert all(width > 0.5 and height > 0 for width, height in look["bars"])
    assert max(height for _, height in look["bars"]) > 60
    assert len(look["lanes"]) == 24
    assert all(width > 0.5 and height == 8 for width, height in look["lanes"])
    assert look["marks"] > 40
    assert len(look["points"]) > 60
    assert all(width > 6 and min(around) > -10 for width, *around, _ in look["points"])
    assert {colour for *_, colour in look["points"]} == {"rgb(231, 234, 240)" if name == "dark" else "rgb(27, 32, 41)"}
    assert len(look["curves"]) == 2
    assert all(width > 200 and height > 60 for width, height in look["curves"])
    assert (look["unnamed"], look["meets"]) == (0, 0)
    assert look["sections"] == [
        *(
            "attention",
            "numbers",
            "traffic",
            "runs",
            "timeline",
            "survival",
            "logins",
            "errors",
            "ages",
            "urls",
            "history",
            "pools",
            "sessions",
        ),
        "cookies",
    ]


@pytest.mark.parametrize("name", ["light", "phone"])
def test_nothing_is_wider_than_the_window(seen: dict[str, Any], name: str) -> None:
    """The page doesn't scroll sideways, at the width of a phone neither."""
    width, window = seen[name]["page"]
    assert width <= window
    assert seen[name]["wide"] == []


def test_light_and_dark(seen: dict[str, Any]) -> None:
    """The page is dark where the reader's system is, and the button changes it, and back."""
    assert background(seen["light.png"]) > 230
    assert background(seen["dark.png"]) < 40
    assert seen["background"] == seen["back"] != seen["toggled"]
    assert sum(map(int, re.findall(r"\d+", seen["toggled"])[:3])) < 120


def test_no_requests_and_no_console_messages(seen: dict[str, Any]) -> None:
    """The browser requests the file alone, and its console stays empty: no error, no breach of the page's policy."""
    assert len(seen["requests"]) == 3
    assert {request.rpartition("/")[2] for request in seen["requests"]} == {"report.html"}
    assert seen["said"] == []


def test_tables_sort(seen: dict[str, Any]) -> None:
    """A click on a column sorts by it, largest numbers first; a key turns it round; names sort as people count."""
    (column,) = (row.index("59") for row in seen["descending"] if row[0] == "p-59")
    descending, ascending = ([float(row[column]) for row in seen[way]] for way in ("descending", "ascending"))
    assert descending == sorted(descending, reverse=True)
    assert ascending == sorted(ascending)
    assert (descending[0], ascending[0], ascending[-1]) == (9775, 0, 49)  # of 63 rows, the first 50
    assert seen["arrow"] == "ascending"
    numbered = [name for name in seen["names"] if name.startswith("p-")]
    assert numbered == [f"p-{n}" for n in range(len(numbered))]
    assert len(numbered) > 40


def test_tables_filter(seen: dict[str, Any]) -> None:
    """All words must be in a row, small or large; how many are left is said."""
    assert "catalog#10" in seen["filtered"]
    assert all(name.startswith("catalog#1") for name in seen["filtered"])
    assert re.fullmatch(rf"{len(seen['filtered'])} of \d+", seen["counted"])


def test_long_tables_begin_short(seen: dict[str, Any]) -> None:
    """Fifty rows are shown at first, fewer on a phone, and all at the press of a button."""
    assert (len(seen["first"]), seen["cards"]) == (50, 10)
    assert seen["all"] > 80
    assert seen["phone sorted"][0][0] == "carol"  # cards sort by the chooser, as their columns have no heads


def test_times_are_shown_in_the_reader_s_zone(seen: dict[str, Any]) -> None:
    """The page says UTC, and on hover the time of the reader, here in Tokyo."""
    assert seen["time"] == "2 Mar 2026, 09:00 in your time"
    assert "2026-02-27 00:00 UTC" in seen["bar"]
    assert "27 Feb 2026, 09:00 to 27 Feb 2026, 10:00 in your time" in seen["bar"]


def test_all_is_there_without_scripts(seen: dict[str, Any]) -> None:
    """Without JavaScript every row is shown, and nothing that wouldn't work."""
    assert seen["plain rows"] == seen["all"]
    assert seen["plain tools"] == 0
    assert background(seen["plain.png"]) > 230


def test_an_empty_page_says_what_to_do(seen: dict[str, Any]) -> None:
    """A store without sessions says what to do."""
    assert seen["empty"].startswith("Nothing to show yet")


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_of_the_documentation(name: str) -> None:
    """The documentation shows the page light, dark and on a phone: ``python -m tests.support.report_pictures``."""
    file = DOCS / "_static" / name
    width, lightness = PICTURES[name]
    assert f".. image:: /_static/{name}" in text_of(page_named("report"))
    assert file.stat().st_size < 150_000
    with Image.open(file) as picture:
        assert picture.width == width
        assert len(set(picture.convert("L").tobytes())) > 20
    assert abs(background(file.read_bytes()) - lightness) < 25
