"""What the documentation shows of the exchange formats is what happens."""

from __future__ import annotations

from pathlib import Path

from scrapy_sessions.formats.registry import FORMATS
from tests.support.docs_pages import Reader, page_named, text_of

PAGE = page_named("formats")


def test_formats_page_runs(tmp_path: Path) -> None:
    """The commands of the page, in their order, print what it shows."""
    Reader(tmp_path).follow(PAGE)
    assert (tmp_path / "sessions.csv").read_text().startswith("session_id,namespace,")


def test_every_format_is_documented() -> None:
    """The table of the page has every format there is, and no other."""
    names = [line.split("``")[1] for line in text_of(PAGE).splitlines() if line.startswith("    * - ``")]
    assert names == ["--format", *FORMATS]
