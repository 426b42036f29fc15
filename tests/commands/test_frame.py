"""The frame of ``scrapy sessions``: arguments, exit codes, and the cost for other commands."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from scrapy.cmdline import execute
from scrapy.settings import Settings

from scrapy_sessions.commands.registry import SUBCOMMANDS
from scrapy_sessions.models import PersistentSession
from tests.support.command_line import PROGRAM, environment, fill, make_project, on_terminal, sessions
from tests.support.imports import loaded_by
from tests.support.in_process import called
from tests.support.waiting import HANG


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, of no project, with the stores one.db (alice and bob) and two.db (carol)."""
    made = tmp_path_factory.mktemp("frame")
    now = time.time()
    alice = PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now)
    fill(made / "one.db", alice, alice.model_copy(update={"session_id": "bob", "namespace": "bank"}))
    fill(made / "two.db", alice.model_copy(update={"session_id": "carol"}))
    long = [alice.model_copy(update={"session_id": f"{number}-{'x' * 200}"}) for number in range(5000)]
    fill(made / "many.db", *long)  # more than a pipe holds
    return made


def test_loading_the_command_is_light() -> None:
    """At every call of scrapy, only the command itself is imported, and no library."""
    loaded = loaded_by("import scrapy_sessions.commands") - loaded_by("import scrapy.commands")
    assert loaded == {"scrapy_sessions", "scrapy_sessions.commands"}


def test_public_names_come_at_first_use() -> None:
    """A name of the package loads its module at first use; another name is an error, and dir() lists them all."""
    statement = "import scrapy_sessions; assert {0} dir(scrapy_sessions); from scrapy_sessions import {1}"
    loaded = loaded_by(statement.format("'Cookie' in", "Cookie"))
    assert "scrapy_sessions.models" in loaded
    assert "scrapy_sessions.sessions.manager" not in loaded
    with pytest.raises(AssertionError, match="cannot import name 'Biscuit'"):
        loaded_by(statement.format("'Biscuit' not in", "Biscuit"))


def test_without_a_subcommand_it_lists_them(folder: Path) -> None:
    """``scrapy sessions`` alone prints its help, with every subcommand, as --help does."""
    done = called(folder)
    assert (done.code, done.err) == (0, "")
    assert re.findall(r"^    ([a-z]+)(?: |$)", done.out, re.MULTILINE) == list(SUBCOMMANDS)
    assert called(folder, "--help") == called(folder, "--help", "list") == done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lsit"], "there is no subcommand 'lsit'; did you mean 'list'?"),
        (["list", "--jsno"], "unrecognized arguments: --jsno; did you mean --json?"),
        (["list", "--js"], "unrecognized arguments: --js"),
        (["--colour", "list"], "unrecognized arguments: --colour"),
        (["list", "--older-than", "3 moons"], "an age is a number and a unit (s, m, h, d, w), as in 2h or 30d"),
        (["list", "--older-than", f"{'9' * 400}d"], "an age is at most 36500d, a hundred years"),
        (["stats", "--since", "999999999999999d"], "an age is at most 36500d, a hundred years"),
        (["report", "--since", "36501d"], "an age is at most 36500d, a hundred years"),
        (["list", "--limit", "0"], "argument --limit: a whole number of at least 1, not '0'"),
        (["show", "x", "--history", "ten"], "argument --history: a whole number of at least 0, not 'ten'"),
        (["stats", "--interval", "often"], "argument --interval: at least 0.1 seconds, and at most a day, not 'often'"),
        (["show", ""], "argument ID: an id has at least one character"),
        (["delete", "x", ""], "argument ID: an id has at least one character"),
        (["show", "-dash"], "required: ID; if -dash is no option, put it last, after --"),
        (["show", "--", "-dash", "--store", "x"], "arguments after -- are no options: put --store before it"),
        (["list", "-s", "SESSIONS_IDLE_TIMEOUT"], "Invalid -s value, use -s NAME=VALUE"),
        (["show", "x", "\x1b[2J\nz"], "unrecognized arguments: \\x1b[2J\\nz"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error ends with exit code 2 and one line on standard error."""
    with pytest.raises(SystemExit) as ended:
        execute(["scrapy", "sessions", *arguments], Settings())
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith("scrapy sessions")
    assert message in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--store", "redsi://:hunter2@host"], "has the scheme 'redsi'"),
        (["list", "-s", "SESSIONS_IDEL_TIMEOUT=hunter2"], "did you mean SESSIONS_IDLE_TIMEOUT?"),
        (["list", "--namespace", "a\nb", "--store", "one.db"], "printable characters only"),
        (["list", "--namespace", "", "--store", "one.db"], "--namespace needs a name"),
    ],
)
def test_bad_values_are_reported_in_one_line(folder: Path, arguments: list[str], message: str) -> None:
    """A bad store, setting or name ends with exit code 2 and one line, which contains no password."""
    done = called(folder, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("scrapy sessions: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err


def test_options_before_and_after_the_subcommand(folder: Path) -> None:
    """Store, namespace and settings may be before or after the subcommand; the later one has precedence."""
    assert called(folder, "--store", "one.db", "list", "--ids", "--namespace", "bank").out == "bob\n"
    assert called(folder, "--store", "one.db", "list", "--ids", "--store", "sqlite:///two.db").out == "carol\n"
    both = ("-s", "SESSIONS_STORE=sqlite:///one.db", "list", "--ids", "-s", "SESSIONS_NAMESPACE=x")
    assert sorted(called(folder, *both).out.split()) == ["alice", "bob"]


def test_options_between_ids(folder: Path) -> None:
    """Options may be before, between and after the ids, and an id with a leading dash after ``--``."""
    for arguments in (["zoe", "-y", "yan"], ["-y", "zoe", "yan"], ["zoe", "yan", "-y"], ["zoe", "-y", "--", "-yan"]):
        done = called(folder, "delete", "--store", "one.db", *arguments)
        last = arguments[-1] if arguments[-1] != "-y" else "yan"
        assert [line.split(" in ")[0] for line in done.err.splitlines()] == [
            f"There is no session {session_id!r}" for session_id in ("zoe", last)
        ]


def test_a_project_names_the_store(folder: Path, tmp_path: Path) -> None:
    """In a project SESSIONS_STORE is obeyed, and -s wins over it."""
    project = make_project(tmp_path / "project", SESSIONS_STORE=f"sqlite:///{folder}/two.db", LOG_STDOUT=True)
    assert sessions(project, "list", "--ids").out == "carol\n"
    assert sessions(project, "list", "--ids", "-s", f"SESSIONS_STORE=sqlite:///{folder}/one.db").out.count("\n") == 2


def test_reading_creates_no_store(tmp_path: Path) -> None:
    """A missing store is reported with its place, and isn't created."""
    done = called(tmp_path, "list", "--json")
    place = tmp_path / ".scrapy" / "sessions" / "sessions.db"
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"scrapy sessions: There is no session store at {place}: ")
    assert called(tmp_path, "show", "alice", "--store", "my.db").code == 1
    assert called(tmp_path, "list", "--store", "memory://").code == 1
    assert "Did you mean 'redis://'?" in called(tmp_path, "list", "--store", "redis:/prod:6379/0").err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_stays_empty(tmp_path: Path) -> None:
    """An empty file is reported as no store yet, by commands that read and by those that write, and isn't changed."""
    (tmp_path / "empty.db").touch()
    for arguments in (["list"], ["show", "alice"], ["stats"], ["delete", "alice", "--yes"], ["cleanup"]):
        done = called(tmp_path, *arguments, "--store", "empty.db")
        assert (done.code, done.out) == (1, "")
        assert "is empty, it is no session store yet" in done.err
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("empty.db", 0)]


def test_a_failing_store_is_reported_in_one_line(tmp_path: Path) -> None:
    """A file that is no store ends with exit code 1 and a message, and isn't changed."""
    (tmp_path / "notes.db").write_text("no database, but a text that is long enough to be looked at" * 3)
    done = called(tmp_path, "list", "--store", "notes.db")
    assert done.code == 1
    assert "it isn't a SQLite file" in done.err
    assert done.err.count("\n") == 1
    assert (tmp_path / "notes.db").read_text().startswith("no database")


def test_messages_hold_nothing_unprintable(tmp_path: Path) -> None:
    """What a terminal would obey in the name of a store is written out in errors, in notes and in questions."""
    fill(tmp_path / "a\n\x1b[31m.db")
    for arguments in (["show", "x"], ["delete", "x"], ["delete", "--expired"]):
        done = called(tmp_path, *arguments, "--store", "a\n\x1b[31m.db")
        assert done.code in {1, 2}
        assert done.err.removesuffix("\n").isprintable()
        assert "a\\n\\x1b[31m.db" in done.err


def test_a_log_is_written_where_it_is_asked_for(folder: Path) -> None:
    """--logfile and --loglevel are obeyed, as by other commands of Scrapy."""
    assert sessions(folder, "list", "--store", "one.db", "--logfile", "a.log", "-L", "DEBUG").err == ""
    assert (folder / "a.log").exists()


def test_the_end_of_a_pipe_is_no_fault(folder: Path) -> None:
    """A reader that goes away, as head does, ends the command with status 141 and not a word."""
    process = subprocess.Popen(
        [*PROGRAM, "list", "--store", "many.db"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=HANG) == 141


def test_interrupted(folder: Path) -> None:
    """Ctrl-C ends the command with status 130 and one line."""
    command = [*PROGRAM, "list", "--store", "many.db"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is at work, and stops when the pipe is full
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG)
    assert errors == "scrapy sessions: Interrupted\n"
    assert process.returncode == 130


def test_colours_are_for_terminals(folder: Path) -> None:
    """On a terminal states are coloured, unless NO_COLOR is set; into a pipe nothing but text goes."""
    assert "\x1b[32m" in on_terminal(folder, "list", "--store", "one.db").out
    plain = on_terminal(folder, "list", "--store", "one.db", NO_COLOR="1").out
    assert "alice" in plain
    assert "\x1b[32m" not in plain
    assert "\x1b" not in sessions(folder, "list", "--store", "one.db").out


def test_json_is_unchanged_on_a_terminal(folder: Path) -> None:
    """JSON is neither wrapped nor coloured on a terminal, however long its lines are."""
    shown = on_terminal(folder, "list", "--store", "one.db", "--json").out
    assert {entry["session_id"] for entry in json.loads(shown)} == {"alice", "bob"}
