"""The benchmarks run: with tiny numbers, whose figures say nothing, so none is judged here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from scrapy.settings import default_settings

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "cost": ("Set-Cookie on 1 of 10 ", "Set-Cookie on 1 of 1 ", "Set-Cookie on 1 of 10, 20 sessions"),
    "header": ("200 cookies set on one domain",),
    "start": ("start-up, 30 stored", "CPU per request, 30 stored"),
    "hold": (
        "save of 30 sessions, p99.9",
        "save of 30 sessions, against work",
        "save of 30 sessions, longest",
        "save of 30 sessions, CPU of its longest step",
    ),
    "listing": ("list the first 100 of 30", "list all 30"),
}

pytestmark = pytest.mark.skipif(
    not hasattr(default_settings, "TWISTED_REACTOR_ENABLED"), reason="the benchmarks run Scrapy without a reactor"
)


def benchmarks(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run them as ``python -m benchmarks`` does, but with the package under test, not the one beside them."""
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run of all measures."""
    return benchmarks(tmp_path_factory.mktemp("benchmarks"), "--tiny")


def test_every_measure_runs_to_its_end(tiny: subprocess.CompletedProcess[str]) -> None:
    """Without being told which, all measures run, and nothing but their names is said on the way."""
    assert tiny.returncode == 0, tiny.stderr
    assert tiny.stderr.splitlines() == [f"{name} …" for name in FIGURES]


def test_nothing_but_the_figures_is_in_the_table(tiny: subprocess.CompletedProcess[str]) -> None:
    """The table has a row for each figure that is tested below, and no other."""
    assert len(rows(tiny.stdout)) == sum(map(len, FIGURES.values()))


@pytest.mark.parametrize("figure", [figure for figures in FIGURES.values() for figure in figures])
def test_a_figure_has_both_sides(tiny: subprocess.CompletedProcess[str], figure: str) -> None:
    """Each comparison tells what ours took, what the other took in the same unit, and their ratio."""
    (row,) = [row for row in rows(tiny.stdout) if figure in row]
    ours, other, ratio = (cell.split() for cell in row.split("|")[2:5])
    assert ours[1] == other[1] in {"us", "ms"}
    assert ratio[1] == "x"


def test_the_output_tells_no_place(tiny: subprocess.CompletedProcess[str]) -> None:
    """What is printed, which goes into the docs, holds no path of the machine."""
    for place in (str(ROOT), tempfile.gettempdir()):
        assert place not in tiny.stdout


def test_an_unknown_measure_is_refused(tmp_path: Path) -> None:
    """A misspelt name measures nothing, and the names there are are told."""
    done = benchmarks(tmp_path, "--tiny", "costs")
    assert done.returncode == 2
    assert "there is no measure costs; there are cost, header" in done.stderr
    assert done.stdout == ""


def rows(output: str) -> list[str]:
    """The rows of the table below its head."""
    return [line for line in output.splitlines() if line.startswith("|")][2:]
