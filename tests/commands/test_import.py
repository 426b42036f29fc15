"""``scrapy sessions import``: what a file changes, what it must not change, and the messages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import Cookie
from scrapy_sessions.formats.records import dump
from tests.support.exchange import SECRET, STORE, complaints, loaded, rich_record, saved, sessions, stored
from tests.support.in_process import delivered
from tests.support.logins import GREETING
from tests.support.site import HOST, Site
from tests.support.waiting import HANG

LINE = "shop.example\tFALSE\t/\tFALSE\t0\t{}\t{}\n"


def har(agent: str, value: str = SECRET) -> str:
    """A recording of one visit."""
    entry = {
        "startedDateTime": "2026-01-01T00:00:00Z",
        "request": {
            "url": "https://shop.example/",
            "headers": [{"name": "User-Agent", "value": agent}, {"name": "Accept-Language", "value": "fr"}],
        },
        "response": {"headers": [{"name": "Set-Cookie", "value": f"sid={value}"}]},
    }
    return json.dumps({"log": {"entries": [entry]}})


def test_a_new_session_is_made(tmp_path: Path) -> None:
    """Cookies create a session that counts as logged in, in the given namespace, with the project's limits."""
    (tmp_path / "cookies.txt").write_text(LINE.format("sid", SECRET) + "#HttpOnly_" + LINE.format("two", SECRET))
    out, errors = sessions(
        *(tmp_path, "import", "cookies.txt", "alice", "--namespace", "shop", "--user-agent", "Browser/1"),
        *(
            "-s",
            "SESSIONS_IDLE_TIMEOUT=77",
            "-s",
            'SESSIONS_PROFILES={"p": {"user_agent": "x", "headers": {"X-P": "1"}}}',
        ),
    )
    record = loaded(tmp_path, "alice")
    assert {cookie.name: (cookie.value, cookie.http_only) for cookie in record.cookies} == {
        "sid": (SECRET, False),
        "two": (SECRET, True),
    }
    assert (record.status, record.idle_timeout) == ("ready", 77)
    assert (record.user_agent, record.profile_name, record.headers) == ("Browser/1", "imported", {})
    assert "alice of shop created: cookies 2 added" in out.decode()
    assert SECRET not in out.decode() + errors


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """A dry run prints what would change, refusals included, and doesn't even create a store."""
    text = LINE.format("sid", SECRET) + ".co.uk\tTRUE\t/\tFALSE\t0\tevil\t1\n" + LINE.format("__Host-x", "1")
    (tmp_path / "cookies.txt").write_text(text)
    out, errors = delivered(tmp_path, "import", "cookies.txt", "alice", "--namespace", "shop", "--dry-run")
    assert [line.split()[:2] for line in out.decode().splitlines()[1:4]] == [
        ["added", "sid"],
        ["refused", "evil"],
        ["refused", "__Host-x"],
    ]
    assert "alice of shop would be created" in out.decode()
    assert "1 refused (public_suffix)" in errors
    assert "1 refused (prefix)" in errors
    assert [each.name for each in tmp_path.iterdir()] == ["cookies.txt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of all kinds, and a store with alice, and with a retired session."""
    made = tmp_path_factory.mktemp("import")
    saved(made, rich_record(), rich_record("ended", status="retired", retired_reason="banned"))
    (made / "good.txt").write_text(LINE.format("new", SECRET))
    (made / "bad.txt").write_text(LINE.format("good", SECRET) + f"shop.example\tFALSE\t/\tNO\t0\tbad\t{SECRET}\n")
    (made / "bad.json").write_text(json.dumps({"cookies": [{"name": "a", "value": SECRET, "domain": 5}]}))
    (made / "odd").write_text(SECRET)
    (made / "expired.txt").write_text("shop.example\tFALSE\t/\tFALSE\t5\told\t1\n")
    (made / "empty.json").write_text('{"cookies": []}')
    (made / "header").write_text(f"Cookie: a={SECRET}")
    (made / "set").write_text(f"set-cookie: a={SECRET}; Path=/; HttpOnly")
    (made / "records.json").write_text(dump([rich_record("carol"), rich_record()]))
    (made / "one.json").write_text(dump([rich_record("carol")]))
    return made


def test_what_can_not_be_done_is_said(folder: Path) -> None:
    """A bad file is reported by line or path and field, a usage error with its remedy; nothing is changed or quoted."""
    there = ["--namespace", "shop"]
    cases = [
        (["bad.txt", "alice"], 1, "bad.txt was not imported, nothing is changed: line 2: the field 'secure'"),
        (["bad.json", "alice"], 1, "cookies[0].domain: it must be a string"),
        (["odd", "alice"], 1, "--format"),
        (["good.txt", "alice", "--format", "har"], 1, "line 1"),
        (["good.txt", "alice", "--format", "yaml"], 2, "netscape"),
        (["good.txt"], 2, "Give its id"),
        (["good.txt", "bob"], 2, "--namespace"),
        (["good.txt", "b\nb", *there], 2, "printable"),
        (["empty.json", "alice"], 1, "no cookie"),
        (["good.txt", "alice", "--user-agent", "x"], 2, "keeps the identity that it was created with"),
        (["good.txt", "bob", *there, "--user-agent", "x\ny"], 2, "control characters"),
        (["good.txt", "bob", *there, "--pool", "nope"], 1, "nope"),
        (["good.txt", "bob", *there, "--session-profile", "nope"], 1, "nope"),
        (["good.txt", "ended"], 1, "is retired"),
        (["good.txt", "alice", "--url", "https://shop.example/"], 2, "leave out --url"),
        (["header", "alice"], 1, "name it with --url"),
        (["header", "alice", "--domain", "shop.example:80"], 2, "--domain: 'shop.example:80' is no host name"),
        (["set", "alice"], 1, "a Set-Cookie header"),
        (["records.json"], 1, "These sessions exist: alice. Nothing is changed; --replace"),
        (["records.json", "dave"], 2, "2 sessions"),
        (["one.json", "--user-agent", "x"], 2, "--user-agent"),
        (["missing.txt", "alice"], 1, "missing.txt"),
        (["good.txt", "alice", "--store", "memory://"], 2, "memory://"),
    ]
    before = (folder / STORE).read_bytes()
    said = complaints(folder, *(["import", *arguments] for arguments, _, _ in cases))
    for (arguments, code, word), (exited, errors) in zip(cases, said, strict=True):
        assert (exited, word in errors) == (code, True), (arguments, errors)
        assert SECRET not in errors
    assert stored(folder, "carol") is None
    assert (folder / STORE).read_bytes() == before


def test_nothing_fit_makes_no_session(folder: Path) -> None:
    """A file whose cookies have all expired creates no session, and fails."""
    out, errors = delivered(folder, "import", "expired.txt", "bob", "--namespace", "shop", code=1)
    assert out.decode().splitlines()[1].startswith("expired  old")
    assert "the session is not created" in errors
    assert stored(folder, "bob") is None


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_an_expired_session_is_replaced_with_a_word(tmp_path: Path, dry: list[str]) -> None:
    """A new session replaces an expired one, with a note about it, in a dry run too."""
    saved(tmp_path, rich_record(last_activity=5.0))
    (tmp_path / "good.txt").write_text(LINE.format("new", SECRET))
    out, errors = delivered(tmp_path, "import", "good.txt", "alice", *dry)
    assert f"alice of shop {'would be ' if dry else ''}replaced: cookies 1 added" in out.decode()
    assert "had expired (by its idle_timeout): the new one keeps none of its 2 cookies" in errors
    assert ("new" in {cookie.name for cookie in loaded(tmp_path, "alice").cookies}) is not bool(dry)


def test_the_field_of_a_control_character_is_named(tmp_path: Path) -> None:
    """A cookie refused for a control character is reported with the field that contains it, without its value."""
    (tmp_path / "odd.txt").write_bytes((LINE.format("odd", f"{SECRET}\r\r") + LINE.format("good", "1")).encode())
    _, errors = delivered(tmp_path, "import", "odd.txt", "alice", "--namespace", "shop", "--dry-run")
    assert "odd of shop.example: its value contains a control character" in errors
    assert SECRET not in errors


def test_cookies_are_merged_or_replaced(tmp_path: Path) -> None:
    """Imported cookies change their like and leave the others, or, if asked, replace them all; the rest stays."""
    cookies = [Cookie(name=name, value="old", domain="shop.example", created=1, updated=2) for name in ("sid", "other")]
    saved(tmp_path, rich_record(cookies=cookies))
    before = loaded(tmp_path, "alice")
    state: dict[str, Any] = {
        "cookies": [{"name": "sid", "value": "new", "domain": "shop.example"}],
        "origins": [{"origin": "https://shop.example", "localStorage": [{"name": "added", "value": "1"}]}],
    }
    (tmp_path / "state.json").write_text(json.dumps(state))
    out, _ = delivered(tmp_path, "import", "state.json", "alice")
    merged = loaded(tmp_path, "alice")
    assert {cookie.name: (cookie.value, cookie.created) for cookie in merged.cookies} == {
        "sid": ("new", 1),
        "other": ("old", 1),
    }
    assert merged.local_storage == {"https://shop.example": {"token": SECRET, "added": "1"}}
    changed = {"cookies", "local_storage", "revision"}
    assert merged.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    assert merged.revision == before.revision + 1
    assert "changed: cookies 1 changed" in out.decode()
    delivered(tmp_path, "import", "state.json", "alice", "--replace")
    replaced = loaded(tmp_path, "alice")
    assert [cookie.name for cookie in replaced.cookies] == ["sid"]
    assert replaced.local_storage == {"https://shop.example": {"added": "1"}}


def test_a_recording_contains_its_agent(tmp_path: Path) -> None:
    """A new session gets the user agent and language of the HAR, with a note; an existing one keeps its own."""
    (tmp_path / "x.har").write_text(har("Browser/2"))
    _, errors = delivered(tmp_path, "import", "x.har", "alice", "--namespace", "shop")
    record = loaded(tmp_path, "alice")
    assert (record.user_agent, record.language) == ("Browser/2", "fr")
    assert "user agent is that of the file: Browser/2" in errors
    (tmp_path / "y.har").write_text(har("Browser/3", "other"))
    out, errors = delivered(tmp_path, "import", "y.har", "alice")
    assert loaded(tmp_path, "alice").user_agent == "Browser/2"
    assert "another user agent" in errors
    assert "1 changed" in out.decode()


def test_a_header_from_standard_input(tmp_path: Path) -> None:
    """A pasted header creates a session for the given site, in the namespace of the settings, in its pool."""
    setting = ["-s", "SESSIONS_NAMESPACE=shop", "-s", 'SESSIONS_POOLS={"staff": {"sessions": ["alice"]}}']
    stdin = f"sid={SECRET}; raw=a\xe9".encode("latin-1")
    delivered(
        *(tmp_path, "import", "-", "alice", "--url", "https://www.shop.example/x", "--pool", "staff", *setting),
        stdin=stdin,
    )
    record = loaded(tmp_path, "alice")
    assert {(cookie.name, cookie.value, cookie.domain, cookie.secure) for cookie in record.cookies} == {
        ("sid", SECRET, "www.shop.example", True),
        ("raw", "a\uefe9", "www.shop.example", True),
    }
    assert record.pool == "staff"


def test_a_header_refreshes_a_login(tmp_path: Path) -> None:
    """A header of the browser changes the value of the session's login cookie, whose attributes stay."""
    old = Cookie(name="sid", value="old", domain="shop.example", host_only=False, http_only=True, secure=True)
    saved(tmp_path, rich_record(cookies=[old]))
    header = f"Cookie: sid={SECRET}; lang=de".encode()
    out, _ = delivered(tmp_path, "import", "-", "alice", "--url", "https://www.shop.example/", stdin=header)
    assert "alice of shop changed: cookies 1 changed, 1 added" in out.decode()
    sid, lang = loaded(tmp_path, "alice").cookies
    assert sid.model_dump(exclude={"updated"}) == {**old.model_dump(exclude={"updated"}), "value": SECRET}
    assert (lang.name, lang.domain, lang.host_only) == ("lang", "www.shop.example", True)


def test_our_json_keeps_everything(tmp_path: Path) -> None:
    """Whole sessions keep times, history and numbers, also under another id and namespace; bad cookies are left out."""
    evil = Cookie(name="evil", value=SECRET, domain="co.uk", host_only=False)
    alice, bob = rich_record(), rich_record("bob", last_activity=5.0)
    file = tmp_path / "all.json"
    file.write_text(dump([alice.model_copy(update={"cookies": [*alice.cookies, evil]}), bob]))
    out, errors = delivered(tmp_path, "import", "all.json", "--yes")
    expected = alice.model_dump() | {"revision": 1}
    assert loaded(tmp_path, "alice").model_dump() == expected
    assert "1 refused (public_suffix)" in errors
    assert "bob has expired by its idle_timeout" in errors
    assert SECRET not in out.decode() + errors
    file.write_text(dump([alice]))
    delivered(tmp_path, "import", "all.json", "eve", "--namespace", "other", "--yes")
    assert loaded(tmp_path, "eve", "other").model_dump() == {**expected, "session_id": "eve", "namespace": "other"}


def test_our_json_replaces_if_asked(tmp_path: Path) -> None:
    """With --replace the session of the file replaces the existing one, with the same start time or another."""
    older = rich_record(start_time=1.0, data={"which": "older"})
    now = rich_record(data={"which": "now"})
    saved(tmp_path, now)
    for record in (now.model_copy(update={"data": {"which": "file"}}), older):
        (tmp_path / "one.json").write_text(dump([record]))
        out, _ = delivered(tmp_path, "import", "one.json", "--replace", "--yes")
        assert loaded(tmp_path, "alice").data == record.data
        assert loaded(tmp_path, "alice").start_time == record.start_time
        assert "alice of shop replaced" in out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_curl_has_written_is_a_login(site: Site, tmp_path: Path) -> None:
    """The cookies.txt of a login by curl creates a session that is logged in at the site."""

    def curl(*arguments: str) -> str:
        command = ["curl", "--silent", "--noproxy", "*", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=HANG).stdout

    curl("--cookie-jar", "curl.txt", "--data", "user=alice", site.url("/login"))
    sessions(tmp_path, "import", "curl.txt", "alice", "--namespace", "shop")
    (cookie,) = loaded(tmp_path, "alice").cookies
    assert (cookie.name, cookie.domain, cookie.host_only, cookie.http_only) == ("auth", HOST, True, True)
    assert GREETING in curl("--header", f"Cookie: auth={cookie.value}", site.url("/secret"))
