"""``scrapy sessions export``: files, notes, and that curl is logged in with the result."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from scrapy_sessions import Cookie, PersistentSession
from scrapy_sessions.atomic_file import atomic_write
from tests.support.exchange import SECRET, STORE, calls, complaints, loaded, rich_record, saved, sessions
from tests.support.formats import load, read_text
from tests.support.in_process import delivered
from tests.support.logins import GREETING, login_cookie
from tests.support.site import Site
from tests.support.waiting import HANG


def records(text: str) -> list[PersistentSession]:
    """The records of our own JSON."""
    return read_text("json", text).records


ODD = "../ü a"  # an id that is no file name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of four sessions, one of them in another namespace under the same id."""
    made = tmp_path_factory.mktemp("export")
    tab = Cookie(name="odd", value=f"{SECRET}\tx", domain="shop.example")
    saved(made, rich_record(), rich_record(ODD), rich_record("tabbed", cookies=[tab]))
    saved(made, rich_record("bob", namespace="other"), rich_record("bob"))
    return made


def test_our_json_is_complete_and_private(folder: Path) -> None:
    """A file of ours holds the whole record, is for its owner only whatever was there before, and is all there is."""
    file = folder / "own" / "alice.json"
    file.parent.mkdir()
    file.write_text("old")
    file.chmod(0o644)
    out, errors = sessions(folder, "export", "alice", "-o", "own/alice.json")
    assert records(file.read_text()) == [loaded(folder, "alice")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["alice.json"]
    assert out == b""
    assert "1 session was written to own/alice.json" in errors
    assert SECRET not in errors


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """A fault in the middle of a write leaves the old file as it was, and no other; a pipe is written to as it is."""
    file = tmp_path / "cookies.txt"
    file.write_text("old")
    with pytest.raises(OSError, match="full"), atomic_write(file) as stream:  # noqa: PT012  # what fails is the writing
        stream.write(b"half")
        raise OSError("the disk is full")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("cookies.txt", "old")]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as stream:
        stream.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


@pytest.mark.parametrize(("name", "fault"), [("missing/x.json", errno.ENOENT), ("/dev/full", errno.ENOSPC)])
def test_a_fault_names_the_file_that_was_asked_for(tmp_path: Path, name: str, fault: int) -> None:
    """Neither a temporary file, nor nothing: what can't be written is named as it was given."""
    if name == "/dev/full" and not Path(name).exists():
        pytest.skip("this system has no full device")
    path = tmp_path / name
    with pytest.raises(OSError, match=r"\[Errno") as error, atomic_write(path) as stream:
        stream.write(b"x")
    assert (error.value.errno, error.value.filename) == (fault, str(path))
    assert ".scrapy-sessions-" not in str(error.value)


def test_all_sessions_on_standard_output(folder: Path) -> None:
    """Without a file, only the export is written to standard output."""
    out, _ = delivered(folder, "export", "--all", "--namespace", "shop")
    assert {record.session_id for record in records(out.decode())} == {"alice", "bob", ODD, "tabbed"}


def test_what_a_format_can_not_hold_is_said(folder: Path) -> None:
    """cookies.txt contains the cookies, and a note lists all that it can't contain."""
    out, errors = delivered(folder, "export", "alice", "--format", "netscape")
    assert [cookie.name for cookie in load("netscape", out)] == ["sid", "theme"]
    for lost in (
        "identity",
        "proxy",
        "headers for 1 origin",
        "local storage of 1",
        "session storage",
        "data",
        "SameSite",
    ):
        assert lost in errors
    assert SECRET not in errors


def test_several_sessions_need_a_folder(folder: Path) -> None:
    """In a format of one session, several need a folder, with one file each, none of them outside of it."""
    _, errors = delivered(folder, "export", "alice", ODD, "--format", "extension", "-o", "both.json", code=2)
    assert "name a folder" in errors
    assert not (folder / "both.json").exists()
    delivered(folder, "export", "alice", ODD, "--format", "extension", "-o", "made/here/")
    made = folder / "made" / "here"
    assert sorted(each.name for each in made.iterdir()) == ["%2E.%2F%C3%BC a.json", "alice.json"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in made.iterdir()} == {0o600}
    assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0
    assert json.loads((made / "alice.json").read_text())[0]["value"] == SECRET


def test_one_name_for_two_files_is_refused(folder: Path) -> None:
    """Two sessions whose files would have the same name are named, and no file is written."""
    _, errors = delivered(folder, "export", "--all", "-o", "clash/", code=2)
    assert "Several namespaces contain the session 'bob'" in errors
    assert not (folder / "clash").exists()


def test_a_cookie_that_does_not_fit_is_named(folder: Path) -> None:
    """A TAB in a value ends an export to cookies.txt with the session's and the cookie's name, and no file is made."""
    both = ("alice", "tabbed", "--namespace", "shop", "--format", "netscape", "-o", "tabbed/")
    _, errors = delivered(folder, "export", *both, code=1)
    assert "Nothing is written: session 'tabbed' of 'shop': the cookie 'odd' of shop.example" in errors
    assert SECRET not in errors
    assert not (folder / "tabbed").exists()


@pytest.mark.parametrize("arguments", [("--all",), ("--summary",), ("--all", "--format", "netscape")])
def test_of_no_session_nothing_is_written(folder: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A namespace with a typing error leaves the backup that is there, and fails with its name."""
    shutil.copy(folder / STORE, tmp_path / STORE)
    (tmp_path / "backup").write_text("old")
    for output in ("backup", "new/") if arguments == ("--all",) else ("backup",):
        _, errors = delivered(tmp_path, "export", *arguments, "--namespace", "typo", "-o", output, code=1)
        assert "There is no session in namespace 'typo'" in errors
    assert (tmp_path / "backup").read_text() == "old"
    assert not (tmp_path / "new").exists()


def test_any_id_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Long ids get file names that a file system allows, cut between characters and with a digest."""
    ids = ["日本語" * 40 + "a", "日本語" * 40 + "b", "x" * 255, "x" * 200, "~" * 3]
    saved(tmp_path, *map(rich_record, ids))
    delivered(tmp_path, "export", "--all", "-o", "made/")
    names = {records(file.read_text())[0].session_id: file.name for file in (tmp_path / "made").iterdir()}
    assert set(names) == set(ids)
    assert max(map(len, names.values())) <= 205
    assert names["x" * 200] == "x" * 200 + ".json"
    assert names["~" * 3] == "%7E%7E%7E.json"
    first, tilde, _ = names[ids[0]].partition("~")
    assert tilde
    assert unquote(first, errors="strict") == "日本語" * 6 + "日本"


def test_a_full_folder_is_reported(tmp_path: Path) -> None:
    """An error names the file that can't be written, and how many files were written before it."""
    saved(tmp_path, rich_record("a", last_activity=time.time() + 5), rich_record("b"))
    (tmp_path / "made" / "b.json").mkdir(parents=True)
    _, errors = delivered(tmp_path, "export", "--all", "-o", "made/", code=1)
    assert "made/b.json. 1 of 2 sessions were written to made" in errors
    assert records((tmp_path / "made" / "a.json").read_text())[0].session_id == "a"


def test_what_can_not_be_done_is_said(folder: Path) -> None:
    """A usage error is reported in one line, with the remedy."""
    cases = [
        (["alice", "--format", "har"], 2, "import only"),
        (["alice", "--format", "yaml"], 2, "netscape"),
        (["alice", "--format", "header"], 2, "--url"),
        (["alice", "--url", "https://shop.example/"], 2, "--format header"),
        (["alice", "--all"], 2, "not both"),
        ([], 2, "--all"),
        (["nobody"], 1, "There is no session 'nobody'"),
        (["alice", "--format", "header", "--url", "shop"], 1, "sessions: the URL: it needs"),
        (["--summary", "--format", "yaml"], 1, "csv"),
        (["alice", "-o", "missing/folder/x.json"], 1, "missing/folder"),
    ]
    said = complaints(folder, *(["export", *arguments] for arguments, _, _ in cases))
    for (arguments, code, word), (exited, errors) in zip(cases, said, strict=True):
        assert (exited, word in errors) == (code, True), (arguments, errors)


def test_a_header_is_for_one_url(folder: Path) -> None:
    """A header contains only the cookies for its URL."""
    out, _ = delivered(folder, "export", "alice", "--format", "header", "--url", "https://shop.example/")
    assert out == f"Cookie: sid={SECRET}\n".encode()


def test_an_unreadable_record_costs_only_itself(folder: Path, tmp_path: Path) -> None:
    """The others are exported, the one is reported, and the exit code is 1."""
    import sqlite3  # noqa: PLC0415

    shutil.copy(folder / STORE, tmp_path / STORE)
    database = sqlite3.connect(tmp_path / STORE)
    with database:
        database.execute("UPDATE sessions SET body = '{' WHERE session_id = 'alice'")
    database.close()
    out, errors = delivered(tmp_path, "export", "--all", "--namespace", "shop", code=1)
    assert {record.session_id for record in records(out.decode())} == {"bob", ODD, "tabbed"}
    assert "'alice'" in errors


def test_summaries_hold_no_secret(folder: Path) -> None:
    """Scrapy's exporters write the summaries, by the suffix of the file and the project's settings, without secrets."""
    done = calls(
        folder,
        ["export", "--summary", "-o", "sessions.csv"],
        ["export", "--summary", "alice", "-o", "sessions.xml"],
        ["export", "--summary", "-o", "sessions.json", "-s", "FEED_EXPORT_INDENT=4"],
        ["export", "--summary", "--all", "--namespace", "other", "--format", "jsonlines"],
    )
    assert [code for code, _, _ in done] == [0, 0, 0, 0]
    out = done[-1][1]
    rows = list(csv.DictReader(io.StringIO((folder / "sessions.csv").read_text())))
    assert {(row["namespace"], row["session_id"]) for row in rows} >= {("shop", "alice"), ("other", "bob")}
    assert len(rows) == 5
    (item,) = ElementTree.parse(folder / "sessions.xml").getroot()
    assert (item.findtext("session_id"), item.findtext("pages_visited")) == ("alice", "7")
    assert '\n    "session_id": "alice"' in (folder / "sessions.json").read_text()
    assert json.loads(out) == {
        "session_id": "bob",
        "namespace": "other",
        "pool": "staff",
        "profile_name": "laptop",
        "status": "ready",
        "pages_visited": 7,
        "actions_count": 1,
        "is_active": True,
        **{name: getattr(loaded(folder, "bob", "other"), name) for name in ("start_time", "last_activity")},
    }
    everything = b"".join((folder / f"sessions.{suffix}").read_bytes() for suffix in ("csv", "xml", "json"))
    assert SECRET.encode() not in everything


def test_a_project_adds_formats(folder: Path) -> None:
    """``FEED_EXPORTERS`` counts: a format of the project is there for summaries."""
    setting = 'FEED_EXPORTERS={"lines": "scrapy.exporters.JsonLinesItemExporter"}'
    out, _ = delivered(folder, "export", "--summary", "alice", "--format", "lines", "-s", setting)
    assert json.loads(out)["session_id"] == "alice"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_logged_in(site: Site, tmp_path: Path) -> None:
    """curl reads our cookies.txt, and the site greets it by the session's name."""
    saved(tmp_path, rich_record(cookies=[login_cookie(site)]))
    sessions(tmp_path, "export", "alice", "--format", "netscape", "-o", "cookies.txt")
    command = ["curl", "--silent", "--noproxy", "*", "--cookie", "cookies.txt", site.url("/secret")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=HANG)
    assert GREETING in done.stdout
