"""What type checkers say of a project that does what the documentation shows."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs_pages import PACKAGE, PAGES, blocks

EXAMPLES = Path(__file__).parent / "examples"

MISTAKES = """
from scrapy import Spider
from scrapy.http import Response

from scrapy_sessions import Sessionconfig, SessionConfig, SpiderSessions, Verdict  # wrong


class Shop(SessionConfig):
    login_url = 1  # wrong

    def check(self, response: Response) -> Verdict:  # wrong
        return Verdict.OK


class Orders(Spider):
    sessions: SpiderSessions

    def parse(self, response: Response) -> None:
        self.sessions.off(response)  # wrong
"""


def mypy(*paths: Path) -> str:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    # Of a checkout; an installed package is found without, and must not be in this path.
    path = {} if "site-packages" in PACKAGE.parts else {"MYPYPATH": str(PACKAGE.parent)}
    # As of an installed package: no errors of a checkout in the current folder, which needs pydantic's plugin.
    options = ["--strict", "--config-file=", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, *map(str, paths)]
    return subprocess.run(command, env={**os.environ, **path}, capture_output=True, text=True, check=False).stdout


def basedpyright(folder: Path, *paths: Path) -> str:
    if importlib.util.find_spec("basedpyright") is None:
        pytest.skip("basedpyright is not installed")
    config = {
        "typeCheckingMode": "standard",
        "extraPaths": [str(PACKAGE.parent)],
        "include": [str(path) for path in paths or (folder,)],
        "reportMissingImports": "none",  # modules of the reader's project
    }
    file = folder / "pyrightconfig.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--project", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def no_error(output: str) -> bool:
    assert re.search("^0 errors, 0 warnings", output, re.MULTILINE), output
    return True


def test_mypy_accepts_annotated_code() -> None:
    """``mypy --strict`` accepts overridden methods, ``Request(self.login_url)`` and an annotated ``self.sessions``."""
    assert "Success: no issues found" in mypy(EXAMPLES)


def test_basedpyright_accepts_annotated_code(tmp_path: Path) -> None:
    """So does basedpyright, in its standard mode."""
    assert no_error(basedpyright(tmp_path, EXAMPLES))


def test_basedpyright_accepts_the_documentation(tmp_path: Path) -> None:
    """Every block of the documentation that imports the package passes as it is printed, without annotations."""
    for page in PAGES:
        for number, block in enumerate(blocks(page)):
            if block.language == "python" and "scrapy_sessions import" in block.text:
                (tmp_path / f"{page.stem}_{number}.py").write_text(block.text, encoding="utf-8")
    assert len(list(tmp_path.glob("*.py"))) > 15
    assert no_error(basedpyright(tmp_path))


@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_mistakes_are_noticed(tmp_path: Path, checker: str) -> None:
    """A misspelled name, a URL that is no string and a method with other parameters are errors: no type is Any."""
    file = tmp_path / "mistakes.py"
    file.write_text(MISTAKES, encoding="utf-8")
    output = mypy(file) if checker == "mypy" else basedpyright(tmp_path)
    lines = {int(line) for line in re.findall(r"mistakes\.py:(\d+)", output)}
    assert lines == {number for number, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("# wrong")}
