"""``scrapy sessions curl``: the command that it prints, run by a real shell, is the session."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from scrapy_sessions import Cookie
from tests.support.exchange import SECRET, complaints, rich_record, saved, sessions
from tests.support.in_process import delivered
from tests.support.logins import GREETING, login_cookie
from tests.support.site import HOST, Site
from tests.support.waiting import HANG

SHOP = "https://www.shop.example/a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one session."""
    made = tmp_path_factory.mktemp("curl")
    saved(made, rich_record())
    return made


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_shell_runs_it_and_is_the_session(site: Site, tmp_path: Path) -> None:
    """Run by a shell, the command is logged in and sends agent, language and headers with any characters."""
    odd = 'it\'s "odd" $HOME `id` \\ \u00fc !'
    raw = Cookie(name="raw", value="a\uefe9b", domain=HOST)  # the byte E9
    headers = {site.url("").rstrip("/"): {"X-Token": odd, "X-Empty": ""}, "http://other.example": {"X-Other": "1"}}
    alice = rich_record(user_agent=odd, proxy=None, headers=headers, cookies=[login_cookie(site), raw])
    saved(tmp_path, alice)
    command, errors = sessions(tmp_path, "curl", "alice", site.url("/secret") + "?a=[1-3]&b={x,y}&c=d e")
    done = subprocess.run(
        ["sh", "-c", command.rstrip() + b" --silent --noproxy '*'"], capture_output=True, check=True, timeout=HANG
    )
    assert GREETING.encode() in done.stdout
    assert errors == ""
    (arrival,) = site.journal("/secret")
    assert arrival.header("User-Agent") == odd.encode().decode("latin-1")
    assert arrival.header("X-Token") == odd.encode().decode("latin-1")
    assert arrival.header("X-Empty") == ""
    assert arrival.header("X-Other") is None
    assert arrival.header("Accept-Language") == "de"
    assert arrival.cookies["raw"] == "a\xe9b"
    assert arrival.target.endswith("?a=%5B1-3%5D&b=%7Bx,y%7D&c=d%20e")


def test_only_cookies_for_the_url_are_printed(folder: Path) -> None:
    """Cookies of other hosts and headers of other origins are not in the command; the proxy is."""
    out, errors = delivered(folder, "curl", "alice", SHOP)
    arguments = shlex.split(out.decode())
    assert arguments == [
        *("curl", "--globoff", "--user-agent", "Browser/1", "--header", "Accept-Language: de", "--header", "X-Kind: a"),
        *("--header", f"Cookie: theme={SECRET}; sid={SECRET}"),
        *("--proxy", f"http://user:{SECRET}@proxy.example:8080", "--url", SHOP),
    ]
    assert errors == ""
    out, _ = delivered(folder, "curl", "alice", "https://api.shop.example/v1")
    assert f"Authorization: Bearer {SECRET}" in shlex.split(out.decode())


def test_a_site_without_cookies_is_said(folder: Path) -> None:
    """If no cookie of the session is sent to the URL, a note says so, and the command contains no secret."""
    out, errors = delivered(folder, "curl", "alice", "http://elsewhere.example/")
    assert "Cookie" not in out.decode()
    assert "No cookie of 'alice' is sent to http://elsewhere.example" in errors


def test_what_can_not_be_done_is_said(folder: Path) -> None:
    """A wrong URL or id is reported in one line."""
    cases = [("alice", "shop.example"), ("alice", "file:///etc/hostname"), ("alice", "http://[::1/"), ("nobody", SHOP)]
    *urls, unknown = complaints(folder, *(["curl", *case] for case in cases))
    assert [(code, "http://" in errors) for code, errors in urls] == [(2, True)] * 3
    assert unknown[0] == 1
    assert "There is no session 'nobody'" in unknown[1]
