"""Where sessions are stored when neither ``SESSIONS_STORE`` nor a path says it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.storage.resolve import resolve_store
from tests.support.command_line import sessions

LINE = "There is no scrapy.cfg here: sessions are stored in {}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The working directory, which is in no project."""
    caplog.set_level(logging.INFO, logger="scrapy_sessions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_an_egg(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under Scrapyd: there are settings, and no scrapy.cfg."""
    monkeypatch.setenv("SCRAPY_SETTINGS_MODULE", "tests.storage")


def test_settings_without_a_project_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An egg stores its sessions in the working directory, and one line says where."""
    in_an_egg(monkeypatch)
    assert Path(resolve_store(url="sqlite://").location).absolute() == folder / ".scrapy/sessions/sessions.db"
    assert caplog.messages == [LINE.format(folder / ".scrapy/sessions")]


def test_no_project_at_all(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So does a script, and its manager finds what its crawls saved."""
    assert Path(resolve_store(url="sqlite://").location).absolute() == folder / ".scrapy/sessions/sessions.db"
    assert caplog.messages == [LINE.format(folder / ".scrapy/sessions")]
    SessionManager()
    assert len(caplog.messages) == 2


def test_in_a_project_nothing_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder ``.scrapy`` beside scrapy.cfg needs no explanation."""
    in_an_egg(monkeypatch)
    (folder / "scrapy.cfg").touch()
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert Path(resolve_store(url="sqlite://").location) == folder / ".scrapy/sessions/sessions.db"
    assert caplog.messages == []


def test_the_command_line_looks_there_too(folder: Path) -> None:
    """With the settings of an egg, ``scrapy sessions`` names the same file."""
    (folder / "egg.py").touch()
    done = sessions(folder, "list", SCRAPY_SETTINGS_MODULE="egg", PYTHONSAFEPATH="")
    assert done.code == 1
    assert f"There is no session store at {folder}/.scrapy/sessions/sessions.db" in done.err
