"""A store that others may read is made private, and one that another user owns is refused."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import pytest

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.testing import make_row
from tests.support.command_line import sessions
from tests.support.crawl import run, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages

ANOTHER = 12345
COMPANIONS = ("-wal", "-shm", ".lock")

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has neither such modes nor such owners")
as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root can give files away")


def opened(path: Path) -> None:
    """Open the store at *path*, and close it."""
    store = SQLiteStore(path, busy_timeout=5.0)
    try:
        store.prepare()
    finally:
        asyncio.run(store.close())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        file.name: (file.read_bytes(), file.stat().st_uid, mode(file)) for file in folder.iterdir() if file.is_file()
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store in a folder that it has made, with the files that SQLite leaves after a kill."""
    file = tmp_path / "sessions" / "s.db"
    opened(file)
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").touch(mode=0o600)
    return file


@pytest.mark.parametrize("given", [0o644, 0o660, 0o604, 0o666])
def test_a_file_that_others_may_use_is_made_private(path: Path, caplog: pytest.LogCaptureFixture, given: int) -> None:
    """The file and those beside it get mode 0600, which one warning says."""
    for suffix in ("", *COMPANIONS):
        Path(f"{path}{suffix}").chmod(given)
    opened(path)
    assert {mode(Path(f"{path}{suffix}")) for suffix in ("", ".lock")} == {0o600}
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"{path} (0{given:o}), {path}-wal (0{given:o})" in record.getMessage()
    caplog.clear()
    opened(path)
    assert caplog.records == []


def test_a_wal_that_others_may_use_is_made_private(path: Path) -> None:
    """So is a WAL that was left by a process with another umask, while the store is in use."""
    Path(f"{path}-wal").chmod(0o666)

    async def use() -> None:
        store = SQLiteStore(path)
        await store.open()
        await store.save([make_row("alice")])
        assert {mode(Path(f"{path}{suffix}")) for suffix in ("", *COMPANIONS)} == {0o600}
        await store.close()

    asyncio.run(use())


def test_our_folder_is_made_private(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The folder that the store has made gets mode 0700; the right of its owner to write stays away."""
    path.parent.chmod(0o755)
    opened(path)
    assert mode(path.parent) == 0o700
    assert f"{path.parent} (0755)" in caplog.text


def test_a_read_only_file_stays_so(path: Path) -> None:
    """Rights are only taken away."""
    path.chmod(0o444)
    if os.geteuid() == 0:
        opened(path)
    else:
        with pytest.raises(StoreError, match="can't be written"):
            opened(path)
    assert mode(path) == 0o400


@as_root
@pytest.mark.parametrize("suffix", ["", *COMPANIONS])
def test_a_file_of_another_user_is_refused(path: Path, suffix: str) -> None:
    """The file, or one beside it, of another user is refused with the line that mends it, and left as it is."""
    os.chown(f"{path}{suffix}", ANOTHER, ANOTHER)
    before = contents(path.parent)
    with pytest.raises(StoreError, match=f"belongs to {ANOTHER}") as caught:
        opened(path)
    assert str(caught.value).endswith(f"sudo chown root {path}{suffix}")
    assert contents(path.parent) == before


@as_root
def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    """So is a folder, whose owner could replace the file; the line names all that is theirs."""
    for each in (path.parent, path):
        os.chown(each, ANOTHER, ANOTHER)
    with pytest.raises(StoreError, match=f"{path.parent} belongs to {ANOTHER}") as caught:
        opened(path)
    line = str(caught.value).rpartition("sudo ")[2]
    assert line == f"chown root {path.parent} {path}"
    for name in line.split()[2:]:
        os.chown(name, 0, 0)
    opened(path)


@as_root
def test_a_link_is_judged_by_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    """A link of ours to another user's store is refused."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    os.chown(path, ANOTHER, ANOTHER)
    with pytest.raises(StoreError, match=f"{path} belongs to {ANOTHER}"):
        opened(link)


@pytest.mark.parametrize("suffix", COMPANIONS)
def test_a_link_beside_the_file_is_refused(path: Path, tmp_path: Path, suffix: str) -> None:
    """What SQLite and the lock would write to is never a link: it could lead to any file of this user."""
    target = tmp_path / "notes"
    target.write_text("mine")
    beside = Path(f"{path}{suffix}")
    beside.unlink()
    beside.symlink_to(target)
    with pytest.raises(StoreError, match=f"{beside} isn't a regular file. Remove it"):
        opened(path)
    assert target.read_text() == "mine"


@as_root
def test_a_crawl_refuses_it_before_its_first_request(path: Path, site: Site) -> None:
    """A crawl on another user's store sends nothing, and says why in its log."""
    os.chown(path, ANOTHER, ANOTHER)
    done = run(Pages, {"SESSIONS_STORE": sqlite_url(path)}, {"urls": [(site.url("/answer"), {})]})
    assert done.status == 1
    assert f"sudo chown root {path}" in done.log
    assert site.journal("/answer") == []


@as_root
def test_commands_refuse_it_in_one_line(path: Path, tmp_path: Path) -> None:
    """``scrapy sessions`` on another user's store says why, in one line."""
    os.chown(path, ANOTHER, ANOTHER)
    done = sessions(tmp_path, "list", "--store", str(path))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert f"sudo chown root {path}" in done.err
