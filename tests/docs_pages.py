"""The pages of the documentation, as tests read them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import scrapy_sessions

__all__ = ["DOCS", "PACKAGE", "PAGES", "README", "Block", "blocks", "commands", "demo", "generated", "text_of"]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = Path(scrapy_sessions.__file__).parent
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.rst"))]


@dataclass(frozen=True)
class Block:
    """A block of code in a page. ``file`` is where the reader puts it, if it is a file."""

    language: str
    file: str | None
    text: str


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """The blocks of code of *page*, in their order."""
    return list(_markdown_blocks(text_of(page)) if page.suffix == ".md" else _rst_blocks(text_of(page)))


def _markdown_blocks(text: str) -> Iterator[Block]:
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        file = re.match(r"# (\S+\.py)\n", code)
        yield Block(language, file[1] if file else None, code)


def _rst_blocks(text: str) -> Iterator[Block]:
    pattern = r"^\.\. code-block:: (\w+)\n(?:    :caption: (\S+)(?: \(added\))?\n)?\n((?:    .*\n|\n)+)"
    for language, file, code in re.findall(pattern, text, re.MULTILINE):
        yield Block(language, file or None, re.sub(r"^    ", "", code, flags=re.MULTILINE).rstrip("\n") + "\n")


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The commands that *page* shows, each with the lines shown below it."""
    shown: list[tuple[str, list[str]]] = []
    for block in blocks(page):
        for line in block.text.splitlines() if block.language == "console" else ():
            if line.startswith("$ "):
                shown.append((line.removeprefix("$ "), []))
            elif line.strip():
                shown[-1][1].append(line)
    return shown


def module(path: Path) -> ModuleType:
    """Import the file *path*, which is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded  # dataclasses look there
    spec.loader.exec_module(loaded)
    return loaded


demo = module(ROOT / "example_project" / "demo.py")
generated = module(DOCS / "_ext" / "generated.py")
