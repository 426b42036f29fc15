"""Each how-to guide with a spider does what it says."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from http.cookiejar import CookieJar as StandardJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest
from scrapy.http.cookies import CookieJar

from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING
from tests.support.docs_pages import Reader, demo, page_named
from tests.support.login_sites import LoginSites, login_sites
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

SHOP = "https://shop.example"


@pytest.fixture
def shop() -> Iterator[str]:
    """The URL of the example project's shop, just opened."""
    with demo.shop() as url:
        yield url


@pytest.fixture
def sites() -> Iterator[LoginSites]:
    """The sites with unusual logins."""
    with login_sites() as running:
        yield running


@pytest.mark.parametrize(("name", "logins"), [("daily-login", 1), ("accounts", 2)])
def test_logging_in(tmp_path: Path, shop: str, name: str, logins: int) -> None:
    """Each account logs in once, however many requests and runs there are."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named(name))
    assert demo.seen_by_shop(shop)["logins"] == logins


def test_a_logout_in_the_middle(tmp_path: Path, shop: str) -> None:
    """A login that the site ends in the middle is repeated once, and no page is lost."""
    demo.ask(shop, "/admin/expire?user=alice&after=10", "POST")
    Reader(tmp_path, {SHOP: shop}).follow(page_named("random-logouts"))
    seen = demo.seen_by_shop(shop)
    assert (seen["logins"], seen["expired"]) == (2, 1)


def test_from_cookiejar(tmp_path: Path, shop: str) -> None:
    """An old spider's visitors have their baskets of the run before."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("from-cookiejar"))
    assert demo.seen_by_shop(shop)["sessions"] == 2


def test_from_scrapy_cookies(tmp_path: Path, shop: str) -> None:
    """A jar that scrapy-cookies has saved is imported, and its login is still good."""
    cookies = StandardJar()
    browser = build_opener(HTTPCookieProcessor(cookies), ProxyHandler({}))
    with browser.open(f"{shop}/login") as page:
        (token,) = re.findall(r'name="csrf" value="([^"]+)"', page.read().decode())
    form = urlencode({"csrf": token, "user": "alice", "password": "wonderland"}).encode()
    browser.open(f"{shop}/login", form).close()
    jar = CookieJar()
    for cookie in cookies:
        jar.set_cookie(cookie)
    (tmp_path / ".scrapy").mkdir()
    (tmp_path / ".scrapy" / "cookies").write_bytes(pickle.dumps({"alice": jar}))
    Reader(tmp_path, {SHOP: shop}).follow(page_named("from-scrapy-cookies"))


def test_from_zyte_api(tmp_path: Path, shop: str) -> None:
    """The visitors of a pool are prepared once."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("from-zyte-api"))
    assert demo.seen_by_shop(shop)["sessions"] == 2


def test_regions_and_baskets(tmp_path: Path, shop: str) -> None:
    """The shop sees four visitors, each with the language of its region and its own basket."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("regions"))
    seen = demo.seen_by_shop(shop)
    assert (seen["sessions"], seen["mixed_identities"]) == (4, 0)


class OpenProxy(Proxy):
    """A proxy that accepts every name with the password of the page."""

    def accepts(self, brought: str | None) -> bool:
        return brought is not None and brought.endswith(":secret")


def test_proxies_that_stick(tmp_path: Path, shop: str) -> None:
    """Three sessions come through three exits, which are the same in the second run."""
    with OpenProxy("") as proxy:
        Reader(tmp_path, {SHOP: shop, "proxy.example:8000": proxy.address}).follow(page_named("sticky-proxies"))
        first, second = proxy.passages[:12], proxy.passages[12:]
    assert len(second) == 12
    assert len({passage.credentials for passage in first}) == 3
    assert {passage.credentials for passage in first} == {passage.credentials for passage in second}
    assert demo.seen_by_shop(shop)["sessions"] == 3


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("api-token", "https://api.shop.example"),
        ("second-factor", "https://bank.example"),
        ("sso", "https://reports.example"),
    ],
)
def test_unusual_logins(tmp_path: Path, sites: LoginSites, name: str, host: str) -> None:
    """The password is sent once in two runs."""
    provider = sites.provider.removeprefix("http://").partition(":")[0]
    Reader(tmp_path, {host: sites.url, "id.example.org": provider}).follow(page_named(name))
    assert sites.logins == 1


@pytest.mark.heavy
def test_a_fleet(tmp_path: Path, shop: str, redis_server: RedisServer) -> None:
    """A worker reads the whole queue in the accounts of an exclusive pool; a second one finds nothing left."""
    package = tmp_path / "shop"
    (package / "spiders").mkdir(parents=True)
    for folder in (package, package / "spiders"):
        (folder / "__init__.py").touch()
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")
    (package / "settings.py").write_text('SPIDER_MODULES = ["shop.spiders"]\n')
    reader = Reader(tmp_path, {SHOP: shop, "redis://redis.example:6379/0": redis_server.url})
    reader.follow(page_named("fleet"))
    assert "'item_scraped_count'" not in reader.run("scrapy crawl prices")
    assert demo.seen_by_shop(shop)["logins"] == 2


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed")
def test_a_browser_login(tmp_path: Path) -> None:
    """The login needs the script of the page; the crawl goes on over HTTP, and the second run starts no browser."""
    with demo.shop("--scripted") as shop:
        launch = (
            f'"PLAYWRIGHT_LAUNCH_OPTIONS": {{"executable_path": {CHROMIUM!r}, "args": {ARGUMENTS!r}}},\n            '
        )
        reader = Reader(tmp_path, {SHOP: shop, '"PLAYWRIGHT_PROCESS': launch + '"PLAYWRIGHT_PROCESS'})
        reader.follow(page_named("browser-login"))
        assert demo.seen_by_shop(shop)["logins"] == 1
