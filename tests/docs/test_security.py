"""The lines of SECURITY.md name tests that exist."""

from __future__ import annotations

import ast
import re

from tests.support.docs_pages import ROOT, text_of

PAGE = text_of(ROOT / "SECURITY.md")
NODE = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")


def test_every_test_named_exists() -> None:
    """Each test that the page names is a function of the file that it names."""
    named = set(NODE.findall(PAGE))
    defined = {
        (file, node.name)
        for file in {file for file, _ in named if (ROOT / file).is_file()}
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert named
    assert named - defined == set()


def test_every_line_has_a_test() -> None:
    """What is defended, and each row of the table of advisories, has the name of a test, or says that there is none."""
    defended = re.findall(r"^- \*\*.*\n(?:  .*\n)*", PAGE.partition("## What is not defended")[0], re.MULTILINE)
    rows = re.findall(r"^\| (?!---|Fault).*", PAGE, re.MULTILINE)
    assert defended
    assert rows
    assert [line for line in defended + rows if not NODE.search(line) and "no test: " not in line] == []
