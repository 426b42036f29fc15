"""Other tools are logged in with what we export: curl, wget, Python's jars, requests, httpx, yt-dlp, Selenium."""

from __future__ import annotations

import http.cookiejar
import importlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from scrapy_sessions import Cookie
from scrapy_sessions.formats.json_cookies import dump, to_selenium
from tests.support.browser import ARGUMENTS, CHROMIUM
from tests.support.exchange import loaded, rich_record, saved, sessions
from tests.support.formats import load
from tests.support.in_process import delivered
from tests.support.logins import GREETING, login_cookie
from tests.support.site import Site
from tests.support.tls_site import tls_site
from tests.support.waiting import HANG

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_wget = pytest.mark.skipif(shutil.which("wget") is None, reason="wget is not installed")
DRIVER = shutil.which("chromedriver")
needs_driver = pytest.mark.skipif(None in {DRIVER, CHROMIUM}, reason="there is no Chromium, or no chromedriver")


@pytest.fixture
def exported(site: Site, tmp_path: Path) -> Path:
    """A folder with alice's login at the site in each of the formats that other tools read."""
    saved(tmp_path, rich_record(cookies=[login_cookie(site)]))
    for name, arguments in {
        "cookies.txt": ["--format", "netscape"],
        "wget.txt": ["--for", "wget"],
        "list.json": ["--format", "selenium"],
    }.items():
        delivered(tmp_path, "export", "alice", *arguments, "-o", name)
    return tmp_path


def output(folder: Path, *command: str) -> str:
    """What *command*, run in *folder*, prints."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=HANG).stdout


@needs_curl
@pytest.mark.parametrize("file", ["cookies.txt", "wget.txt"])
def test_curl_is_logged_in(site: Site, exported: Path, file: str) -> None:
    """curl reads both kinds of cookies.txt."""
    assert GREETING in output(exported, "curl", "--silent", "--noproxy", "*", "--cookie", file, site.url("/secret"))


@needs_wget
def test_wget_is_logged_in(site: Site, exported: Path) -> None:
    """wget is logged in with the file for it, but not with the ordinary one, as a note of the export says."""

    def page(file: str) -> str:
        return output(exported, "wget", "-q", "-O", "-", "--no-proxy", "--load-cookies", file, site.url("/secret"))

    assert GREETING in page("wget.txt")
    assert GREETING not in page("cookies.txt")
    _, errors = delivered(exported, "export", "alice", "--format", "netscape", "-o", "cookies.txt")
    assert "for wget and aria2 1 HttpOnly cookie, whose lines they skip: --for wget" in errors
    _, errors = delivered(exported, "export", "alice", "--for", "wget", "-o", "wget.txt")
    assert "HttpOnly of its cookies" in errors


@needs_wget
def test_what_wget_has_written_is_a_login(site: Site, tmp_path: Path) -> None:
    """The cookies.txt of a login by wget makes a session that is logged in."""
    output(
        *(tmp_path, "wget", "-q", "-O", "-", "--no-proxy", "--save-cookies", "wget.txt", "--keep-session-cookies"),
        *("--post-data", "user=alice", site.url("/login")),
    )
    sessions(
        *(tmp_path, "import", "wget.txt", "alice", "--namespace", "shop"),
        *("--check", site.url("/secret")),
    )
    assert loaded(tmp_path, "alice").pages_visited == 1


def jar_of(file: Path) -> http.cookiejar.MozillaCookieJar:
    """Python's jar of *file*, loaded as in the documentation."""
    jar = http.cookiejar.MozillaCookieJar(file)
    jar.load(ignore_expires=True)
    for cookie in jar:
        cookie.expires = cookie.expires or None
    return jar


def test_python_is_logged_in(site: Site, exported: Path) -> None:
    """urllib is logged in with our cookies.txt in a jar of Python's."""
    jar = urllib.request.HTTPCookieProcessor(jar_of(exported / "cookies.txt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
    with opener.open(site.url("/secret"), timeout=HANG) as response:
        assert GREETING in response.read().decode()


@pytest.mark.parametrize("library", ["requests", "httpx"])
@pytest.mark.parametrize("file", ["cookies.txt", "list.json"])
def test_a_client_is_logged_in(site: Site, exported: Path, library: str, file: str) -> None:
    """requests and httpx are logged in with our cookies.txt in a jar, and with our list, as the documentation shows."""
    module = pytest.importorskip(library)
    client = module.Session() if library == "requests" else module.Client(trust_env=False)
    if library == "requests":
        client.trust_env = False
    if file == "cookies.txt":
        for cookie in jar_of(exported / file):
            (client.cookies if library == "requests" else client.cookies.jar).set_cookie(cookie)
    else:
        for cookie in json.loads((exported / file).read_text()):
            client.cookies.set(cookie["name"], cookie["value"], domain=cookie["domain"], path=cookie["path"])
    with client:
        assert GREETING in client.get(site.url("/secret")).text


def test_what_requests_has_is_a_login(site: Site, tmp_path: Path) -> None:
    """The cookies of a login by requests, in both ways to write them down, make sessions that are logged in."""
    requests = pytest.importorskip("requests")
    with requests.Session() as client:
        client.trust_env = False
        client.post(site.url("/login"), data={"user": "alice"}, allow_redirects=False)
        (tmp_path / "vars.json").write_text(json.dumps([vars(cookie) for cookie in client.cookies]))
        (tmp_path / "pairs.json").write_text(json.dumps(requests.utils.dict_from_cookiejar(client.cookies)))
    url, there = site.url("/secret"), ("--namespace", "shop")
    sessions(tmp_path, "import", "vars.json", "alice", *there, "--check", url)
    sessions(tmp_path, "import", "pairs.json", "bob", *there, "--url", url, "--check", url)
    (alice,), (bob,) = loaded(tmp_path, "alice").cookies, loaded(tmp_path, "bob").cookies
    assert (alice.http_only, bob.http_only) == (True, False)
    assert (alice.name, alice.value, alice.domain) == (bob.name, bob.value, bob.domain)


def test_yt_dlp_reads_cookies_txt(site: Site, exported: Path) -> None:
    """yt-dlp's own loader reads our cookies.txt and sends the login."""
    try:
        cookies = importlib.import_module("yt_dlp.cookies")
    except ImportError:
        pytest.skip("yt-dlp is not installed")
    jar = cookies.YoutubeDLCookieJar(str(exported / "cookies.txt"))
    jar.load(ignore_discard=True, ignore_expires=True)
    (cookie,) = loaded(exported, "alice").cookies
    assert jar.get_cookie_header(site.url("/secret")) == f"{cookie.name}={cookie.value}"


NEXT_MONTH = float(int(time.time()) + 30 * 86400)
SHOP = "https://www.shop.example/"


@pytest.mark.heavy
@needs_driver
def test_selenium_takes_each_cookie_and_gives_it_back(tmp_path: Path) -> None:
    """A real driver accepts and sends every entry of the list, and its own list is imported unchanged."""
    webdriver = pytest.importorskip("selenium.webdriver")
    cookies = [
        Cookie(name="long", value="1", domain="shop.example", host_only=False, secure=True, expires=NEXT_MONTH + 0.5),
        Cookie(name="hidden", value="2", domain="www.shop.example", host_only=False, secure=True, http_only=True),
        Cookie(name="cross", value="3", domain="shop.example", host_only=False, secure=True, same_site="None"),
        Cookie(
            name="strict", value="4", domain="shop.example", host_only=False, path="/a", secure=True, same_site="Strict"
        ),
        Cookie(name="__Secure-a", value="5", domain="shop.example", host_only=False, secure=True, same_site="Lax"),
        Cookie(name="__Host-b", value="6", domain="www.shop.example", secure=True, same_site="Lax"),
    ]
    entries = json.loads(dump(cookies, to_selenium))
    with tls_site(tmp_path, {}) as seen:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (*ARGUMENTS, "--headless=new", "--ignore-certificate-errors"):
            options.add_argument(argument)
        options.add_argument(f"--host-resolver-rules=MAP * 127.0.0.1:{seen.port}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            driver.get(SHOP)
            for entry in entries:
                driver.add_cookie(entry)
            driver.get(f"{SHOP}a/b")
            listed = driver.get_cookies()
        finally:
            driver.quit()
    assert seen.cookies["www.shop.example/a/b"] == {cookie.name for cookie in cookies}
    back = {cookie.name: cookie for cookie in load("selenium", json.dumps(listed))}
    for cookie in cookies:
        expected = cookie.model_dump() | {"same_site": cookie.same_site or "Lax"}  # which Chromium takes it for
        if cookie.expires is not None:
            expected["expires"] = NEXT_MONTH
        assert back[cookie.name].model_dump() == expected
