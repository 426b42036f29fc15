"""A session whose proxy has a lifetime: what the commands show of it, print and move."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.commands.support.text import url_without_password
from scrapy_sessions.sessions.proxy_token import current_proxy
from tests.support.exchange import SECRET, STORE, loaded, rich_record, saved
from tests.support.in_process import called, delivered

PROXY = f"http://customer-{{token}}:{SECRET}@proxy.example:8000"
OLD = PROXY.format(token="abcdefgh")
ROTATION: dict[str, Any] = {"template": PROXY, "seed": "s33d", "lifetime": 1800.0, "since": 1000.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one session, which was last saved with an earlier token."""
    made = tmp_path_factory.mktemp("lifetime")
    saved(made, rich_record(proxy=OLD, proxy_rotation=ROTATION))
    return made


def test_show(folder: Path) -> None:
    """The current proxy and its lifetime are shown, without password and seed; --reveal shows the record."""
    now = current_proxy(loaded(folder, "alice"), time.time())
    assert now is not None
    text, as_json = (called(folder, "show", "alice", "--store", STORE, *form).out for form in ([], ["--json"]))
    assert url_without_password(now) in text
    assert "proxy lifetime  30 min\n" in text
    shown = json.loads(as_json)
    assert "abcdefgh" not in text + as_json
    assert shown["proxy_rotation"]["lifetime"] == 1800
    assert shown["proxy"] == url_without_password(now)
    for secret in (SECRET, "s33d"):
        assert secret not in text + as_json
    revealed = json.loads(called(folder, "show", "alice", "--store", STORE, "--json", "--reveal").out)
    assert (revealed["proxy"], revealed["proxy_rotation"]) == (now, ROTATION)


def test_curl(folder: Path) -> None:
    """The command goes through the proxy that the session has now."""
    before = current_proxy(loaded(folder, "alice"), time.time())
    arguments = shlex.split(delivered(folder, "curl", "alice", "https://shop.example/")[0].decode())
    after = current_proxy(loaded(folder, "alice"), time.time())
    assert arguments[arguments.index("--proxy") + 1] in {before, after} - {OLD}


def test_export_and_import(folder: Path, tmp_path: Path) -> None:
    """Our own JSON contains it, and the session of another store goes on with the same tokens."""
    file = tmp_path / "alice.json"
    file.write_bytes(delivered(folder, "export", "alice")[0])
    done = called(tmp_path, "import", str(file), "--yes", "--store", STORE)
    assert done.code == 0, done.err
    assert SECRET not in done.out + done.err
    record = loaded(tmp_path, "alice")
    assert record.proxy_rotation == ROTATION
    assert current_proxy(record, 1e9) == current_proxy(loaded(folder, "alice"), 1e9) != OLD
