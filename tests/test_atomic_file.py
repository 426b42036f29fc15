"""Files that this package writes where the user says: nobody else reads them, or chooses where they go."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrapy_sessions.atomic_file import atomic_write, check_target
from tests.support.command_line import PROGRAM, environment, sessions
from tests.support.exchange import rich_record, saved

ANOTHER = 12345

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that all users may write to, as /tmp is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


def give(path: Path) -> None:
    """Give *path*, not what it links to, to another user."""
    os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)


def refused(path: Path) -> str:
    """Writing to *path* is refused; return why."""
    with pytest.raises(PermissionError) as caught, atomic_write(path) as file:
        file.write(b"secret")
    assert caught.value.filename == str(path)
    return str(caught.value.strerror)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, only the owner can read the file, and the temporary one before it."""
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "out.json") as file:
            file.write(b"secret")
            assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600]
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o600


@as_root
def test_a_pipe_of_another_user_is_refused(shared: Path) -> None:
    """Nothing is written to another user's pipe, and nobody waits for its reader."""
    os.mkfifo(shared / "out.json")
    give(shared / "out.json")
    reader = os.open(shared / "out.json", os.O_RDONLY | os.O_NONBLOCK)
    assert "another user" in refused(shared / "out.json")
    assert os.read(reader, 10) == b""
    os.close(reader)


@as_root
def test_a_file_of_another_user_is_refused(shared: Path) -> None:
    """Another user's file is left as it is."""
    (shared / "out.json").write_text("theirs")
    give(shared / "out.json")
    assert "another user" in refused(shared / "out.json")
    assert (shared / "out.json").read_text() == "theirs"


@as_root
@pytest.mark.parametrize("kept", [True, False])
def test_a_link_of_another_user_is_refused(shared: Path, tmp_path: Path, kept: bool) -> None:
    """Another user's link decides about no file of ours, whether that exists or not."""
    if kept:
        (tmp_path / "mine").write_text("mine")
    (shared / "out.json").symlink_to(tmp_path / "mine")
    give(shared / "out.json")
    assert "another user" in refused(shared / "out.json")
    assert (shared / "out.json").is_symlink()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"] * kept


@as_root
def test_a_device_of_blocks_is_refused(tmp_path: Path) -> None:
    """A disk is no file to write to."""
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    assert "neither a file nor a pipe" in refused(tmp_path / "disk")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_its_name(tmp_path: Path, name: str) -> None:
    """``/dev/stdout`` is written to, whoever made the pipe or file behind it, and where the file ends."""
    before = Path("/dev/stdout").readlink()
    saved(tmp_path, rich_record())
    arguments = ["export", "alice", "-o", name, "--store", "sessions.db"]
    done = sessions(tmp_path, *arguments)
    assert (done.code, '"session_id": "alice"' in done.out) == (0, True)
    (tmp_path / "log").write_text("first\n")
    with (tmp_path / "log").open("a") as log:
        subprocess.run([*PROGRAM, *arguments], cwd=tmp_path, env=environment(), stdout=log, check=True)
    assert (tmp_path / "log").read_text() == f"first\n{done.out}"
    assert Path("/dev/stdout").readlink() == before  # as root, the link could be replaced


def test_a_descriptor_that_is_closed(tmp_path: Path) -> None:
    """The error names the descriptor."""
    with pytest.raises(OSError, match="Bad file descriptor: '/dev/fd/987'"), atomic_write(Path("/dev/fd/987")):
        pass


@pytest.mark.parametrize("kept", [True, False])
def test_a_link_is_followed(tmp_path: Path, kept: bool) -> None:
    """A link of one's own is kept, and its target is written."""
    (tmp_path / "dated").mkdir()
    if kept:
        (tmp_path / "dated" / "today.json").write_text("old")
    (tmp_path / "out.json").symlink_to("dated/today.json")
    with atomic_write(tmp_path / "out.json") as file:
        file.write(b"new")
    assert (tmp_path / "out.json").is_symlink()
    assert [(each.name, each.read_text()) for each in (tmp_path / "dated").iterdir()] == [("today.json", "new")]


def test_a_circle_of_links(tmp_path: Path) -> None:
    """The error of the system, for the name that was given."""
    (tmp_path / "out.json").symlink_to("again.json")
    (tmp_path / "again.json").symlink_to("out.json")
    with pytest.raises(OSError, match=r"Too many levels of symbolic links: '.*/out\.json'"):
        check_target(tmp_path / "out.json")


@as_root
def test_a_link_of_another_user_behind_one_of_ours_is_refused(shared: Path, tmp_path: Path) -> None:
    """Each link of a chain is checked."""
    (tmp_path / "mine").write_text("mine")
    (shared / "theirs").symlink_to(tmp_path / "mine")
    give(shared / "theirs")
    (tmp_path / "out.json").symlink_to(shared / "theirs")
    assert "another user" in refused(tmp_path / "out.json")
    assert (tmp_path / "mine").read_text() == "mine"


@as_root
@pytest.mark.parametrize("command", [["export", "--all"], ["export", "--summary"], ["report", "--yes"]])
def test_commands_refuse_it_in_one_line(shared: Path, tmp_path: Path, command: list[str]) -> None:
    """Every command that writes a file refuses another user's, with the reason and the file's name."""
    saved(tmp_path, rich_record())
    os.mkfifo(shared / "out")
    give(shared / "out")
    done = sessions(tmp_path, *command, "-o", str(shared / "out"), "--store", "sessions.db")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"another user, who could read what is written: name another file: {shared / 'out'}" in done.err
