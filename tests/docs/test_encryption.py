"""What the page on encryption shows works as it is written there, in a shell and in a project with one session."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from scrapy_sessions.models import PersistentSession
from tests.support.command_line import environment, fill, make_project, sessions
from tests.support.docs_pages import commands, page_named
from tests.support.waiting import HANG


def test_the_page_runs(tmp_path: Path) -> None:
    """Each command succeeds and prints what is shown below it; at the end the session needs the new key."""
    project = make_project(tmp_path / "project")
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    (programs / "scrapy").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scrapy "$@"\n')
    (programs / "scrapy").chmod(0o755)
    store = project / ".scrapy" / "sessions" / "sessions.db"
    now = time.time()
    fill(store, PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now))

    shown = commands(page_named("encryption"))
    assert len(shown) == 8
    given = environment(HOME=str(home))
    done = subprocess.run(
        ["bash", "-e"],
        input="\n".join(f"{command}\necho ----" for command, _ in shown),
        cwd=project,
        env={**given, "PATH": f"{programs}:{given['PATH']}"},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for output, (command, lines) in zip(done.stdout.split("----\n"), shown, strict=False):
        for line in lines:
            assert line in output.splitlines(), command

    old, new = ((home / name).read_text().strip() for name in ("sessions.key", "new.key"))
    assert {(home / name).stat().st_mode & 0o777 for name in ("sessions.key", "new.key")} == {0o600}
    assert sessions(project, "list", "--ids", SCRAPY_SESSIONS_KEY=new).out == "alice\n"
    refused = sessions(project, "list", SCRAPY_SESSIONS_KEY=old)
    assert (refused.code, refused.out) == (1, "")
    assert "none of the keys that are set is its key" in refused.err
