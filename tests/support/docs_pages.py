"""The pages of the documentation, as tests read them, and somebody who follows them."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.rest.lexers import DirectiveLexer

import scrapy_sessions

__all__ = [
    "DOCS",
    "NOT_RUN",
    "PACKAGE",
    "PAGES",
    "README",
    "ROOT",
    "Block",
    "Reader",
    "blocks",
    "commands",
    "demo",
    "generated",
    "module",
    "page_named",
    "text_of",
]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(scrapy_sessions.__file__).parent
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.rst"))]

# Not tldextract's: see tests/support/jobs.py.
_ERROR = re.compile(r"\[(?!tldextract)[^\]]*\] ERROR: ")


@dataclass(frozen=True)
class Block:
    """A block of code in a page. ``file`` is where the reader puts it, if it is a file."""

    language: str
    file: str | None
    text: str


def page_named(name: str) -> Path:
    """The one page whose file is called *name*, in whichever folder."""
    (found,) = DOCS.rglob(f"{name}.rst")
    return found


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[Block]:
    """The blocks of code of *page*, in their order."""
    document = Document(text_of(page), str(page))
    return list(_markdown_blocks(document) if page.suffix == ".md" else _rst_blocks(document))


def _markdown_blocks(document: Document) -> Iterator[Block]:
    for region in FencedCodeBlockLexer(r"\w+")(document):
        code = str(region.lexemes["source"])
        file = re.match(r"# (\S+\.py)\n", code)
        yield Block(region.lexemes["language"], file[1] if file else None, code)


def _rst_blocks(document: Document) -> Iterator[Block]:
    for region in DirectiveLexer("code-block")(document):
        caption = region.lexemes["options"].get("caption", "")
        code = str(region.lexemes["source"]).rstrip("\n") + "\n"
        yield Block(region.lexemes["arguments"], caption.removesuffix(" (added)") or None, code)


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


# Commands that no test runs: they install, need the network, never end by themselves, or are other tests.
NOT_RUN = re.compile(r"python -m (pip|tox|shop_site) |cd example_project$|scrapy shell (?!.* -c )")


class Reader:
    """Somebody who does in *folder* what a page says. Names of sites in the page are those of *sites* here."""

    def __init__(self, folder: Path, sites: dict[str, str] | None = None) -> None:
        self._start = self._folder = folder
        self._output = ""
        self._sites = sites or {}
        self._variables: dict[str, str] = {}

    def follow(self, page: Path) -> None:
        """Write the files and give the commands of *page*, in their order, and look for what it shows below them.

        In what it shows, ``…`` stands for any text.
        """
        for block in blocks(page):
            if block.file:
                self.write(block.file, block.text)
            elif block.language == "console":
                for line in filter(None, block.text.splitlines()):
                    if not line.startswith("$ "):
                        assert re.search(re.escape(line).replace("…", ".+"), self._output), line
                    elif not NOT_RUN.match(line.removeprefix("$ ")):
                        self._output = self.run(line.removeprefix("$ "))

    def write(self, name: str, text: str) -> None:
        """Write the file *name*; what a page says of a file that is there already is added to it."""
        for shown, real in self._sites.items():
            text = text.replace(shown, real)
        file = self._start / name
        with file.open("a", encoding="utf-8") as stream:
            stream.write("\n" + text)

    def run(self, command: str) -> str:
        """Run *command* and return all that it wrote. It has to succeed."""
        for shown, real in self._sites.items():
            command = command.replace(shown, real)
        program, *arguments = shlex.split(command)
        if program == "cd":
            self._folder /= arguments[0]
            return ""
        if program == "export":
            self._variables.update(argument.split("=", 1) for argument in arguments)
            return ""
        programs = {"python": [sys.executable], "scrapy": [sys.executable, "-m", "scrapy"], "curl": ["curl"]}
        words = programs[program] + arguments
        if arguments[0] in {"crawl", "runspider"}:
            words += ["-s", "DOWNLOAD_DELAY=0"]  # startproject sets it, rightly so
        environment = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE.parent),
            "SHOP_PASSWORD": "wonderland",
            "PYTEST_ADDOPTS": "",
            **self._variables,
        }
        done = subprocess.run(words, cwd=self._folder, env=environment, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert not _ERROR.search(output), output
        return output


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
