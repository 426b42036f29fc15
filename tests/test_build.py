"""What is published: the distributions that hatchling builds, and the workflow that checks them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.docs_pages import ROOT

pytestmark = pytest.mark.heavy

EPOCH = 1_700_000_000  # an even number, as a zip file counts two seconds at a time
NOT_COPIED = (".git", ".hypothesis", ".tox", ".*_cache", "__pycache__", "*venv*")
LOGINS = "example_project/.scrapy/sessions/sessions.db"  # of somebody who ran the demo before publishing


class Machine(NamedTuple):
    """What differs between two people who build the same commit."""

    name: str
    umask: int
    mtime: int
    time_zone: str
    hash_seed: str


MACHINES = (
    Machine("a", 0o022, 1_000_000_000, "UTC", "1"),
    Machine("another/folder", 0o077, 1_500_000_000, "Asia/Kolkata", "2"),
)


def checkout(machine: Machine, parent: Path) -> Path:
    """Copy the sources as *machine* would check them out."""
    folder = parent / machine.name
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (folder / LOGINS).parent.mkdir(parents=True, exist_ok=True)
    (folder / LOGINS).write_text("logins", encoding="utf-8")
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~machine.umask)
            os.utime(path, (machine.mtime, machine.mtime))
    return folder


def build(folder: Path, machine: Machine) -> dict[str, bytes]:
    """Build both distributions of *folder*; return their names and bytes."""
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "TZ": machine.time_zone,
        "PYTHONHASHSEED": machine.hash_seed,
    }
    command = [sys.executable, "-m", "hatchling", "build", "--directory", "built"]
    subprocess.run(command, cwd=folder, env=environment, umask=machine.umask, check=True)
    return {path.name: path.read_bytes() for path in (folder / "built").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, bytes]]]]:
    """Where the sources are, and what each machine built of them."""
    parent = tmp_path_factory.mktemp("build")
    yield parent, [build(checkout(machine, parent), machine) for machine in MACHINES]
    shutil.rmtree(parent)


def distribution(built: tuple[Path, list[dict[str, bytes]]], suffix: str) -> Path:
    """The file of the first machine whose name ends with *suffix*."""
    return next((built[0] / MACHINES[0].name / "built").glob(f"*{suffix}"))


def test_distributions_are_reproducible(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """Folder, umask, file times, time zone and hash seed of the builder change no byte of the wheel and the sdist."""
    first, second = built[1]
    assert sorted(name.rpartition(".")[2] for name in first) == ["gz", "whl"]
    assert first == second


def test_times_are_the_source_date(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """Files in both distributions have the time of ``SOURCE_DATE_EPOCH``."""
    with tarfile.open(distribution(built, ".tar.gz")) as sdist:
        assert {member.mtime for member in sdist} == {EPOCH}
    with zipfile.ZipFile(distribution(built, ".whl")) as wheel:
        assert {member.date_time for member in wheel.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_wheel_of_the_sdist_is_the_same(built: tuple[Path, list[dict[str, bytes]]], tmp_path: Path) -> None:
    """Who builds from the source distribution gets the wheel that is published."""
    with tarfile.open(distribution(built, ".tar.gz")) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    name = distribution(built, ".whl").name
    assert build(folder, MACHINES[1])[name] == built[1][0][name]


def test_wheel_has_the_package_only(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """The wheel has the modules of the package and its metadata, no tests or tools."""
    with zipfile.ZipFile(distribution(built, ".whl")) as wheel:
        folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert sorted(re.sub(r"-[\d.]+(?=\.dist-info)", "", folder) for folder in folders) == [
        "scrapy_persistent_sessions.dist-info",
        "scrapy_sessions",
    ]


def test_distributions_have_the_scripts(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """The Lua scripts of RedisStore are in both distributions."""
    scripts = {path.name for path in (ROOT / "scrapy_sessions" / "storage" / "redis" / "lua").iterdir()}
    with zipfile.ZipFile(distribution(built, ".whl")) as wheel, tarfile.open(distribution(built, ".tar.gz")) as sdist:
        for names in (wheel.namelist(), sdist.getnames()):
            assert {Path(name).name for name in names if name.endswith(".lua")} == scripts
    assert "save.lua" in scripts


def test_distributions_have_no_sessions(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """Sessions that a crawl left in the folder of the sources are not published."""
    with tarfile.open(distribution(built, ".tar.gz")) as sdist:
        assert [name for name in sdist.getnames() if ".scrapy" in name] == []
        assert any(name.endswith("example_project/demo.py") for name in sdist.getnames())


def test_source_distribution_is_the_repository(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """The source distribution has each file of the repository, and nothing else but its metadata."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is not a clone")
    with tarfile.open(distribution(built, ".tar.gz")) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    assert packed - {"PKG-INFO"} == set(listed.stdout.splitlines())


def test_version_is_in_one_place(built: tuple[Path, list[dict[str, bytes]]]) -> None:
    """The version in ``pyproject.toml`` is that of the distributions, and no module has another."""
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(built[1][0]) == [
        f"scrapy_persistent_sessions-{version}-py3-none-any.whl",
        f"scrapy_persistent_sessions-{version}.tar.gz",
    ]
    modules = (ROOT / "scrapy_sessions").rglob("*.py")
    assert [path.name for path in modules if "__version__ =" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(("workflow", "command"), [("ci.yml", ".ci/run"), ("publish.yml", ".ci/build dist")])
def test_workflows_have_no_steps_of_their_own(workflow: str, command: str) -> None:
    """The one command of each workflow is a script, which runs on any machine."""
    text = (ROOT / ".github" / "workflows" / workflow).read_text(encoding="utf-8")
    assert re.findall(r"\brun:\s*(.*)", text) == [command]
    assert os.access(ROOT / command.partition(" ")[0], os.X_OK)


def test_these_are_all_workflows() -> None:
    """No other workflow runs than those above."""
    assert {path.name for path in (ROOT / ".github" / "workflows").iterdir()} == {"ci.yml", "publish.yml"}


def test_actions_are_pinned() -> None:
    """Each action is pinned by its full commit, one commit for each, with its version beside it."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").iterdir()]
    uses = [line for text in texts for line in re.findall(r"\buses: *(.+)", text)]
    pins = {re.fullmatch(r"([\w/-]+)@([0-9a-f]{40}) # v[\d.]+", line) for line in uses}
    assert None not in pins
    assert len({pin[1] for pin in pins if pin}) == len(set(uses))
