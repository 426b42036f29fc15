"""A name that does not exist: the nearest one is suggested. An id in several namespaces: the command is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.models import PersistentSession
from tests.support.command_line import fill, make_project, sessions
from tests.support.in_process import called


def record(session_id: str, **fields: Any) -> PersistentSession:
    return PersistentSession(session_id=session_id, idle_timeout=0, last_activity=1.0, **fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose store has the sessions of two spiders."""
    fill(
        tmp_path / "s.db",
        record("alice", namespace="shop", pool="staff"),
        record("alice", namespace="bank"),
        record("bob", namespace="shop", pool="catalog"),
    )
    return tmp_path


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("show alise", "did you mean 'alice'?"),
        ("show bob --namespace shp", "did you mean --namespace shop?"),
        ("curl bobb https://x.example/", "did you mean 'bob'?"),
        ("export bobb", "did you mean 'bob'?"),
        ("export --all --namespace shp", "did you mean --namespace shop?"),
        ("retire bobb", "did you mean 'bob'?"),
        ("unretire bobb", "did you mean 'bob'?"),
        ("fork bobb c", "did you mean 'bob'?"),
        ("delete bobb --yes", "did you mean 'bob'?"),
        ("delete --all --yes --namespace bnk", "did you mean --namespace bank?"),
        ("list --namespace shp", "did you mean --namespace shop?"),
        ("list --pool staf", "did you mean --pool staff?"),
        ("list --namespace shp --pool staf", "did you mean --namespace shop --pool staff?"),
        ("stats --pool staf", "did you mean --pool staff?"),
        ("report -o r.html --pool staf", "did you mean --pool staff?"),
        ("lst", "did you mean 'list'?"),
    ],
)
def test_the_nearest_name(folder: Path, command: str, hint: str) -> None:
    """The nearest id, namespace, pool or command is suggested."""
    done = called(folder, *shlex.split(command), "--store", "s.db")
    assert hint in done.err


@pytest.mark.parametrize("command", ["show zzz", "list --namespace zzz", "list --pool staff --namespace bank"])
def test_nothing_is_near(folder: Path, command: str) -> None:
    """Nothing is suggested if nothing is near, or if each name exists and only their combination doesn't."""
    done = called(folder, *shlex.split(command), "--store", "s.db")
    assert done.err
    assert "did you mean" not in done.err


@pytest.mark.parametrize("command", ["show alice", "export alice -o -", "delete alice --yes"])
def test_the_command_that_is_printed_works(tmp_path: Path, command: str) -> None:
    """The command for an id in several namespaces can be pasted as it is."""
    folder = make_project(tmp_path, SESSIONS_STORE="sqlite:///s.db")
    fill(folder / "s.db", record("alice", namespace="shop"), record("alice", namespace="bank"))
    done = sessions(folder, *shlex.split(command))
    assert (done.code, done.out) == (2, "")
    printed = done.err.partition(", as in: ")[2].strip()
    assert printed == f"scrapy sessions {command} --namespace bank"
    assert sessions(folder, *shlex.split(printed)[2:]).code == 0
