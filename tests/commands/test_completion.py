"""``scrapy sessions completion``: the scripts, run by the shells themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scrapy_sessions.commands.registry import SUBCOMMANDS
from scrapy_sessions.models import PersistentSession
from tests.support.command_line import environment, fill, make_project, sessions
from tests.support.waiting import HANG

BASH = """
source sessions.bash
while IFS= read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    read -ra COMP_WORDS <<<"$COMP_LINE"
    [[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    function=$(complete -p scrapy); function=${function##*-F }
    "${function%% *}" scrapy "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\\n' "${COMPREPLY[*]}"
done
"""
WORDS = {
    "scrapy sessions ": " ".join(SUBCOMMANDS),
    "scrapy sessions --namespace shop re": "retire report",
    "scrapy sessions list --sta": "--status",
    "scrapy sessions list --status re": "ready retired",
    "scrapy sessions --store s.db show al": "alice",
    "scrapy sessions completion ": "bash zsh fish",
    "scrapy sessions import --format h": "har header",
    "scrapy sessions export --summary --format j": "json jsonlines",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a store, s.db, the scripts, and the command ``scrapy`` in bin."""
    made = make_project(tmp_path_factory.mktemp("completion"))
    now = time.time()
    alice = PersistentSession(session_id="alice", start_time=now, last_activity=now)
    fill(made / "s.db", alice, *(alice.model_copy(update={"session_id": each}) for each in ("o'hara", "shop:1")))
    for shell in ("bash", "fish"):
        done = sessions(made, "completion", shell)
        assert (done.code, done.err) == (0, "")
        (made / f"sessions.{shell}").write_text(done.out)
    (made / "bin").mkdir()
    program = made / "bin" / "scrapy"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scrapy "$@"\n')
    program.chmod(0o755)
    return made


def completed(folder: Path, script: str, *lines: str, before: str = "") -> list[str]:
    """What bash would offer for each of *lines*, *before* having been run first."""
    done = subprocess.run(
        ["bash", "--norc", "-c", before + script],
        cwd=folder,
        env=environment(PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash(folder: Path) -> None:
    """Bash completes subcommands, options, their choices, and ids out of the store that the line names."""
    more = {
        "scrapy sess": "sessions",
        "scrapy sessions list --status=re": "ready retired",
        "scrapy sessions show --store=s.db --reveal --store sqlite:///s.db o": "o\\'hara",
        "scrapy sessions show --store s.db shop:": "1",  # bash has cut the word at the colon
        "scrapy sessions list --store s": "",  # left to bash, for files
        "scrapy crawl ": "",
    }
    assert completed(folder, BASH, *WORDS, *more) == [*WORDS.values(), *more.values()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_keeps_what_was_there(folder: Path) -> None:
    """Another completion of scrapy goes on to complete its other commands, also after the script was read twice."""
    before = "_other() { COMPREPLY=(other); }; complete -F _other scrapy; source sessions.bash; "
    assert completed(folder, BASH, "scrapy crawl ", "scrapy sessions li", before=before) == ["other", "list"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(folder: Path) -> None:
    """Fish completes the same, in its own order."""
    asked = "; echo; ".join(f"complete -C {shlex.quote(line)}" for line in WORDS)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source sessions.fish; {asked}"],
        cwd=folder,
        env=environment(PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    offered = [sorted(part.split()) for part in done.stdout.split("\n\n")]
    assert offered == [sorted(words.split()) for words in WORDS.values()]


def test_zsh_has_a_script(folder: Path) -> None:
    """The script for zsh has the table of all subcommands, and registers its function; another shell is refused."""
    script = sessions(folder, "completion", "zsh").out
    assert "'list --status') echo 'new ready retired active expired'" in script
    assert "'show arguments') echo '@ids'" in script
    assert script.rstrip().endswith("compdef _scrapy_sessions scrapy")
