"""Make the pictures of the documentation anew: ``python -m tests.support.report_pictures [FOLDER]``."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from scrapy_sessions.report import build
from tests.support.browser import chromium, shown
from tests.support.report_stores import NOW, example

STATIC = Path(__file__).parents[2] / "docs" / "_static"
PICTURES = {
    "report-light.png": {"width": 1240, "height": 1180, "color_scheme": "light"},
    "report-dark.png": {"width": 1240, "height": 1180, "color_scheme": "dark"},
    "report-phone.png": {"width": 390, "height": 844, "color_scheme": "light", "device_scale_factor": 2},
}
_COLOURS = 96  # in the palette: a third of the size, and nobody sees it


async def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "report.html"
        async with example() as store:
            file.write_text(await build(store, now=NOW), encoding="utf-8")
        async with chromium() as browser:
            for name, options in PICTURES.items():
                async with shown(browser, file, **options) as page:
                    picture = Image.open(io.BytesIO(await page.page.screenshot()))
                    picture.convert("RGB").quantize(_COLOURS).save(folder / name, optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else STATIC
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(make(target))
