"""Scrapy's own tests of ``CookiesMiddleware``, run against ``SessionCookiesMiddleware`` with the add-on on.

The test module is Scrapy's, of the version installed. It isn't in this repository: it is taken from Scrapy's source
distribution, which pip downloads once. It runs in a pytest of its own, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import scrapy

import scrapy_sessions

OURS = "scrapy_sessions.middlewares.SessionCookiesMiddleware"
MODULE = "test_downloadermiddleware_cookies.py"

# What we are stricter about on purpose, listed in the docs as well: {"TestCookiesMiddleware::test_name": reason}.
STRICTER: dict[str, str] = {}

# Outcomes of a test that passes. Some of Scrapy's are expected to fail (there): here they may do either.
PASSING = {"passed", "xfailed", "xpassed"}

# Runs before the test module is imported, which takes both names from Scrapy's modules. Not at its own import: that is
# before pytest-twisted has installed the reactor.
PLUGIN = """
import json
import os
from pathlib import Path

import pytest

outcomes = {}


@pytest.hookimpl(trylast=True)
def pytest_configure():
    if os.environ["DROP_IN_MODE"] == "reactorless":
        from scrapy.utils.reactorless import install_reactor_import_hook

        install_reactor_import_hook()

    import scrapy.downloadermiddlewares.cookies
    import scrapy.utils.test
    from scrapy.utils.misc import load_object

    plain_crawler = scrapy.utils.test.get_crawler

    def get_crawler(spidercls=None, settings_dict=None, prevent_warnings=True):
        settings = {**json.loads(os.environ["DROP_IN_SETTINGS"]), **(settings_dict or {})}
        return plain_crawler(spidercls, settings, prevent_warnings)

    scrapy.utils.test.get_crawler = get_crawler
    scrapy.downloadermiddlewares.cookies.CookiesMiddleware = load_object(os.environ["DROP_IN_MIDDLEWARE"])


def pytest_runtest_logreport(report):
    expected = hasattr(report, "wasxfail")
    outcome = {"passed": "xpassed", "skipped": "xfailed"}.get(report.outcome) if expected else report.outcome
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid.partition("::")[2]] = outcome or report.outcome


def pytest_sessionfinish():
    Path("outcomes.json").write_text(json.dumps(outcomes))
"""

# Takes the place of Scrapy's middleware to see whether its tests are really run against what takes its place.
FORGETFUL = """
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware


class ForgetfulMiddleware(CookiesMiddleware):
    def process_response(self, request, response, spider=None):
        return response
"""


@dataclass(frozen=True)
class Run:
    """What became of Scrapy's tests: an outcome by test id, and what pytest said."""

    outcomes: dict[str, str]
    output: str

    def not_passing(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome not in PASSING}


def download(folder: Path, scratch: Path) -> Path:
    """Return Scrapy's source distribution in *folder*, of the version installed, downloaded if it isn't there."""
    kept = folder / f"scrapy-{scrapy.__version__}.tar.gz"
    if not kept.exists():
        what = ["--no-deps", "--no-binary", "scrapy", f"scrapy=={scrapy.__version__}"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(scratch), *what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            # Where everything has to be tested, a test that can't run is a failure.
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"pip can't download Scrapy's source distribution, and {kept} isn't there:\n{done.stderr}")
        (archive,) = scratch.glob("*.tar.gz")
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{kept.name}.{os.getpid()}"
        partial.write_bytes(archive.read_bytes())
        partial.replace(kept)  # at once, so that another process never reads half of it
    return kept


@pytest.fixture(scope="module")
def scrapys_tests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The text of Scrapy's test module."""
    scratch = tmp_path_factory.mktemp("sdist")
    cache = getattr(request.config, "cache", None)  # not there with "-p no:cacheprovider"
    folder = os.environ.get("SCRAPY_SESSIONS_SDISTS") or (cache.mkdir("scrapy-sdists") if cache else scratch / "kept")
    with tarfile.open(download(Path(folder), scratch)) as archive:
        (member,) = (name for name in archive.getnames() if name.endswith(f"/tests/{MODULE}"))
        extracted = archive.extractfile(member)
        assert extracted is not None
        return extracted.read()


@pytest.fixture(scope="module")
def run(scrapys_tests: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run Scrapy's tests against a middleware, with more settings; each combination runs once."""
    runs: dict[tuple[str, str, str], Run] = {}

    def run(mode: str, middleware: str = OURS, settings: str | None = None) -> Run:
        if settings is None:
            settings = json.dumps({"ADDONS": {"scrapy_sessions.SessionsAddon": 300}, "SESSIONS_STORE": "memory://"})
        key = (mode, middleware, settings)
        if key not in runs:
            runs[key] = run_once(tmp_path_factory.mktemp(mode), scrapys_tests, *key)
        return runs[key]

    return run


def run_once(folder: Path, scrapys_tests: bytes, mode: str, middleware: str, settings: str) -> Run:
    (folder / MODULE).write_bytes(scrapys_tests)
    (folder / "drop_in_plugin.py").write_text(PLUGIN)
    (folder / "forgetful.py").write_text(FORGETFUL)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {
        **os.environ,
        # The very package under test, wherever it stands.
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(scrapy_sessions.__file__).parent.parent)]),
        "PYTEST_ADDOPTS": "",
        "DROP_IN_MODE": mode,
        "DROP_IN_MIDDLEWARE": middleware,
        "DROP_IN_SETTINGS": settings,
    }
    # As in Scrapy's own suite, where --reactor=asyncio is the default, and "no-reactor" another environment.
    options = ["-p", "no:twisted"] if mode == "reactorless" else ["--reactor=asyncio"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "drop_in_plugin", "-p", "no:cacheprovider", MODULE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    result = folder / "outcomes.json"
    assert result.exists(), output
    return Run(json.loads(result.read_text()), output)


MODES = pytest.mark.parametrize(
    "mode",
    [
        "asyncio",
        pytest.param(
            "reactorless",
            marks=pytest.mark.skipif(scrapy.version_info < (2, 15), reason="Scrapy runs without a reactor since 2.15"),
        ),
    ],
)


@MODES
def test_scrapys_own_tests_pass(run: Callable[..., Run], mode: str) -> None:
    """Every test that Scrapy's middleware passes, ours passes too, but for those where it is stricter on purpose."""
    result = run(mode)
    assert len(result.outcomes) > 30, result.output
    assert result.not_passing() - set(STRICTER) == set(), result.output


@MODES
def test_where_we_are_stricter_scrapys_test_fails(run: Callable[..., Run], mode: str) -> None:
    """A test listed as stricter on purpose does fail: the list holds nothing that has become needless."""
    result = run(mode)
    assert set(STRICTER) & set(result.outcomes) - result.not_passing() == set()


@MODES
def test_a_middleware_that_forgets_fails_scrapys_tests(run: Callable[..., Run], mode: str) -> None:
    """The tests run against the middleware put in place of Scrapy's: one that drops all cookies of responses fails."""
    result = run(mode, "forgetful.ForgetfulMiddleware", "{}")
    assert "TestCookiesMiddleware::test_basic" in result.not_passing()
    assert result.outcomes["TestCookiesMiddleware::test_setting_false_cookies_enabled"] == "passed"
