"""The diagram and the tables of the architecture page agree with the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from scrapy.settings import BaseSettings

import scrapy_sessions
from scrapy_sessions import SessionsAddon

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.rst"
PACKAGE = Path(scrapy_sessions.__file__).parent
DIAGRAM = PAGE.read_text(encoding="utf-8").partition(".. architecture-diagram")[2].partition("#.  ")[0]


def boxes() -> list[tuple[str, str]]:
    """The objects of the diagram and their files: the file stands beside the name, or below it in the same column."""
    lines = DIAGRAM.splitlines()
    found = []
    for number, line in enumerate(lines):
        for match in re.finditer(r"\[([\w/]+\.py)\]", line):
            beside = re.search(r"([A-Za-z_]+(?:\.[a-z_]+)?)\s+$", line[: match.start()])
            name = beside[1] if beside else re.split(r"\s{2,}|^\d+ ", lines[number - 1][match.start() :].strip())[0]
            found.append((name, match[1]))
    return found


@pytest.mark.parametrize(("name", "file"), boxes())
def test_box(name: str, file: str) -> None:
    """Each object of the diagram exists in the file that it names."""
    module = importlib.import_module("scrapy_sessions." + file.removesuffix(".py").replace("/", "."))
    value: object = module
    for part in name.split("."):
        value = getattr(value, part)


def test_diagram_has_boxes() -> None:
    """The check above finds the boxes."""
    assert len(boxes()) >= 18


@pytest.mark.parametrize(
    ("position", "name"),
    sorted(set(re.findall(r"(\d+) (Session\w+Middleware)", DIAGRAM))),
)
def test_position(position: str, name: str) -> None:
    """Each downloader middleware of the diagram has the position that the add-on gives it."""
    settings = BaseSettings({"DOWNLOADER_MIDDLEWARES": {}, "REQUEST_FINGERPRINTER_CLASS": None})
    settings.setdict({"EXTENSIONS": {}, "SPIDER_MIDDLEWARES": {}})
    settings.set("REQUEST_FINGERPRINTER_CLASS", "scrapy.utils.request.RequestFingerprinter")
    SessionsAddon().update_settings(settings)
    middlewares = settings["DOWNLOADER_MIDDLEWARES"].items()
    places = {getattr(each, "__name__", str(each)).rpartition(".")[2]: place for each, place in middlewares}
    assert places[name] == int(position)


def test_files_of_the_questions_exist() -> None:
    """The files that answer the four questions exist."""
    table = PAGE.read_text(encoding="utf-8").partition("Where to look")[2].partition("The way of a request")[0]
    files = re.findall(r"``([\w/]+\.py)``", table)
    assert len(files) == 9
    assert all((PACKAGE / file).is_file() for file in files)


def test_every_part_has_its_row() -> None:
    """The table of folders names every folder and module at the top of the package."""
    table = PAGE.read_text(encoding="utf-8").partition("\nFolders\n")[2].partition("Up to and with")[0]
    named = {name.rstrip("/") for name in re.findall(r"``([\w]+/?)``", table)}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    parts = folders | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    assert parts <= named
