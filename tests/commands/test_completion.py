"""``scrapy sessions completion``: the scripts, run by the shells themselves."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

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
    "scrapy sessions delete --store=s.db alice al": "alice",
    "scrapy sessions list --store s.db --namespace ": "bank shop",
    "scrapy sessions report --store s.db --namespace shop --pool ": "crowd staff",
    "scrapy sessions check --sp": "--spider",
    "scrapy sessions check --store s.db --spider shop al": "alice",
    "scrapy sessions check --store s.db --login --pool st": "staff",
    "scrapy sessions list --store sess": "sessions.bash sessions.fish sessions.zsh",
    "scrapy sessions completion ": "bash zsh fish",
    "scrapy sessions import --format h": "har header",
    "scrapy sessions export --summary --format j": "json jsonlines",
}
# In zsh each line is completed and run. The function prints it, except for the calls of the completion itself.
ZSH = """
PS1=; unsetopt beep; autoload -Uz compinit; compinit -u -D; source ./sessions.zsh
scrapy() { if [[ $* == *--values* ]]; then command scrapy "$@"; else print -r -- "RAN ${(j:|:)@}"; fi; }
"""
ZSH_WORDS = {
    "scrapy sessions --namespace shop compl\t": "sessions|--namespace|shop|completion",
    "scrapy sessions list --sta\t": "sessions|list|--status",
    "scrapy sessions list --status=act\t": "sessions|list|--status=active",
    "scrapy sessions --store s.db show al\t": "sessions|--store|s.db|show|alice",
    "scrapy sessions delete --store=s.db alice o\t": "sessions|delete|--store=s.db|alice|o'hara",
    "scrapy sessions list --store s.db --namespace=b\t": "sessions|list|--store|s.db|--namespace=bank",
    "scrapy sessions import --format hea\t": "sessions|import|--format|header",
    "scrapy crawl sessions.z\t": "crawl|sessions.zsh",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a store, s.db, the scripts, and the command ``scrapy`` in bin."""
    made = make_project(tmp_path_factory.mktemp("completion"))
    now = time.time()
    alice = PersistentSession(session_id="alice", namespace="shop", pool="staff", start_time=now, last_activity=now)
    others = [("o'hara", "shop", "crowd"), ("shop:1", "bank", None), ("$(touch harm)", "bank", "staff")]
    fill(made / "s.db", alice, *(alice.model_copy(update=dict(zip(NAMES, each, strict=True))) for each in others))
    for shell in ("bash", "fish", "zsh"):
        done = sessions(made, "completion", shell)
        assert (done.code, done.err) == (0, "")
        (made / f"sessions.{shell}").write_text(done.out)
    (made / "bin").mkdir()
    program = made / "bin" / "scrapy"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scrapy "$@"\n')
    program.chmod(0o755)
    return made


NAMES = ("session_id", "namespace", "pool")


def variables(folder: Path) -> dict[str, str]:
    """The environment of a shell that finds the command."""
    return dict(environment(PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", TERM="dumb"))


def output(folder: Path, *command: str, stdin: str = "") -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables(folder),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def completed(folder: Path, script: str, *lines: str, before: str = "") -> list[str]:
    """What bash offers for each of *lines*, after it has run *before*."""
    stdin = "".join(f"{line}\n" for line in lines)
    return output(folder, "bash", "--norc", "-c", before + script, stdin=stdin).splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash(folder: Path) -> None:
    """Bash completes subcommands, options, their choices, and values from the store that the line names."""
    more = {
        "scrapy sess": "sessions",
        "scrapy sessions list --status=re": "ready retired",
        "scrapy sessions show --store=s.db --reveal --store sqlite:///s.db o": "o\\'hara",
        "scrapy sessions show --store s.db shop:": "1",  # bash has cut the word at the colon
        "scrapy sessions list --store=s.db --namespace=b": "bank",
        "scrapy sessions list --limit ": "",  # left to bash, for files
        "scrapy crawl ": "",
    }
    found = completed(folder, BASH, *WORDS, *more)
    assert [sorted(line.split()) for line in found] == [
        sorted(words.split()) for words in (*WORDS.values(), *more.values())
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_runs_no_code_from_ids(folder: Path) -> None:
    """An id with a command substitution is quoted, and not run."""
    (line,) = completed(folder, BASH, "scrapy sessions show --store s.db $")
    assert line == "\\$\\(touch\\ harm\\)"
    assert not (folder / "harm").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_keeps_other_completion(folder: Path) -> None:
    """Another completion of scrapy still completes its other commands, also after the script was read twice."""
    before = "_other() { COMPREPLY=(other); }; complete -F _other scrapy; source sessions.bash; "
    assert completed(folder, BASH, "scrapy crawl ", "scrapy sessions li", before=before) == ["other", "list"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(folder: Path) -> None:
    """Fish completes the same, in its own order, and keeps another completion of scrapy."""
    asked = "; echo; ".join(f"complete -C {shlex.quote(line)} | cut -f 1" for line in (*WORDS, "scrapy crawl othe"))
    other = "complete -c scrapy -n 'contains crawl (commandline -opc)' -a other"
    shown = output(folder, "fish", "--no-config", "-c", f"{other}; source sessions.fish; {asked}")
    offered = [sorted(part.split()) for part in shown.split("\n\n")]
    assert offered == [*(sorted(words.split()) for words in WORDS.values()), ["other"]]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(folder: Path) -> None:
    """Zsh completes the same, on a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], cwd=folder, env=variables(folder), stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    deadline = Timer(HANG, process.kill)
    deadline.start()
    shown = b""
    try:
        os.write(leader, "".join([ZSH, *(f"{line}\n" for line in ZSH_WORDS), "exit\n"]).encode())
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(leader, 65536):
                shown += part
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
        os.close(leader)
    assert re.findall(r"^RAN (.*)\r$", shown.decode(), re.MULTILINE) == list(ZSH_WORDS.values())


def test_zsh_script(folder: Path) -> None:
    """The script for zsh completes the choices and the values, and registers its function."""
    script = (folder / "sessions.zsh").read_text()
    assert ":status:(new ready retired active expired)" in script
    assert "the session: _scrapy_sessions_values session_id" in script
    assert script.rstrip().endswith("compdef _scrapy_sessions scrapy")


def test_without_shtab(folder: Path, tmp_path: Path) -> None:
    """Without shtab, which is an extra, the command names the line that installs it."""
    (tmp_path / "shtab.py").write_text("raise ImportError")
    done = sessions(folder, "completion", "bash", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(": pip install 'scrapy-persistent-sessions[completion]'\n")
    assert done.err.count("\n") == 1
