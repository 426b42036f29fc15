"""The add-on: one line sets all up, the same as by hand, and off is off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionsAddon
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.storage import MemoryStore
from tests.support.crawl import ADDON, MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

SCRAPYS = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
DOWNLOADER = {
    "scrapy_sessions.middlewares.SessionMiddleware": 75,
    "scrapy_sessions.middlewares.SessionVerdictMiddleware": 950,
    "scrapy_sessions.middlewares.SessionCookiesMiddleware": 960,
}
BY_HAND: dict[str, Any] = {
    "ADDONS": {},
    "EXTENSIONS": {"scrapy_sessions.extension.SessionsExtension": 0},
    "DOWNLOADER_MIDDLEWARES": {**DOWNLOADER, SCRAPYS: None},
    "SPIDER_MIDDLEWARES": {"scrapy_sessions.spidermiddlewares.SessionSpiderMiddleware": 25},
    "REQUEST_FINGERPRINTER_CLASS": "scrapy_sessions.fingerprint.SessionFingerprinter",
}
SETUPS: dict[str, dict[str, Any]] = {
    "add-on": {},
    "by hand": BY_HAND,
    "off": {"SESSIONS_ENABLED": False},
    "plain": {"ADDONS": {}},
    "by hand, off": {**BY_HAND, "SESSIONS_ENABLED": False},
    "explicit": {"DOWNLOADER_MIDDLEWARES": {SCRAPYS: 700}},
    "cookies off": {"COOKIES_ENABLED": False},
}

Found = dict[str, tuple[Crawl, list[Arrival]]]


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """One crawl by each set-up: its stats, and what it sent."""
    site = site_process
    site.reset()
    jobs = []
    for setup, settings in SETUPS.items():
        path = _path(setup)
        steps = [
            [{"url": site.url(f"{path}/1", set="a=1; Path=/"), "cookies": {"own": "1"}}],
            [{"url": site.url(f"{path}/2", to=site.url(f"{path}/3"))}],
            [{"url": site.url(f"{path}/4"), "meta": {"cookiejar": 1}}],
        ]
        # How often sessions are saved must not depend on the pace of the crawl.
        jobs.append(
            Job("tests.support.spiders.base.Listed", {"steps": steps}, {**settings, "SESSIONS_SAVE_INTERVAL": 60})
        )
    crawls = crawl_jobs(tmp_path_factory.mktemp("addon"), *jobs, mode=request.param)
    journal = site.journal()
    return {
        setup: (done, [arrival for arrival in journal if arrival.path.startswith(f"{_path(setup)}/")])
        for setup, done in zip(SETUPS, crawls, strict=True)
    }


def _path(setup: str) -> str:
    return "/" + setup.replace(" ", "").replace(",", "")


def _sent(found: tuple[Crawl, list[Arrival]]) -> list[tuple[Any, ...]]:
    return [(arrival.path[-1], sorted(arrival.cookie_pairs), arrival.header("User-Agent")) for arrival in found[1]]


def _stats(found: tuple[Crawl, list[Arrival]]) -> dict[str, Any]:
    kept = ("sessions/", "downloader/request_count", "downloader/response_count", "item_scraped_count", "dupefilter/")
    return {name: value for name, value in found[0].stats.items() if name.startswith(kept)}


def test_one_line_sets_all_up(run: Found) -> None:
    """With the add-on alone a spider has sessions: they are made, and every response says its own."""
    done, _ = run["add-on"]
    assert done.stats["sessions/created"] == 2
    assert [item["session"] for item in done.items] == ["default#1", "default#1", "cookiejar:int:1"]


def test_by_hand_is_the_same(run: Found) -> None:
    """The five settings by hand do what the add-on does: the same requests and the same stats."""
    assert _sent(run["by hand"]) == _sent(run["add-on"])
    assert _stats(run["by hand"]) == _stats(run["add-on"])
    assert [item["session"] for item in run["by hand"][0].items] == [item["session"] for item in run["add-on"][0].items]


@pytest.mark.parametrize("setup", ["off", "by hand, off"])
def test_off_is_plain_scrapy(run: Found, setup: str) -> None:
    """With SESSIONS_ENABLED=False, cookies work as in plain Scrapy, and there is no session and no stat."""
    done, _ = run[setup]
    assert _sent(run[setup]) == _sent(run["plain"])
    assert _stats(run[setup]) == _stats(run["plain"])
    assert {item["session"] for item in done.items} == {"(no key)"}


def test_off_adds_nothing() -> None:
    """With SESSIONS_ENABLED=False the add-on leaves every setting as it was."""
    settings, before = (Settings({"SESSIONS_ENABLED": False}) for _ in range(2))
    SessionsAddon().update_settings(settings)
    assert settings.copy_to_dict() == before.copy_to_dict()


def test_off_makes_no_extension(tmp_path: Path) -> None:
    """With SESSIONS_ENABLED=False components set up by hand make no extension, and no store."""
    store = tmp_path / "s.db"
    crawler = get_crawler(settings_dict={**BY_HAND, "SESSIONS_ENABLED": False, "SESSIONS_STORE": f"sqlite:///{store}"})
    assert crawler.get_extension(SessionsExtension) is None
    assert list(tmp_path.iterdir()) == []


class Unconfigured(MemoryStore):
    """A store that fails as parts of Scrapy do when they are switched off."""

    def __init__(self) -> None:
        raise NotConfigured("no server")


def test_only_the_setting_switches_sessions_off() -> None:
    """A crawl doesn't go on without sessions because something that they need raised NotConfigured."""
    with pytest.raises(SessionConfigurationError, match="no server") as raised:
        get_crawler(settings_dict={"ADDONS": ADDON, "SESSIONS_STORE": Unconfigured})
    assert isinstance(raised.value.__cause__, NotConfigured)


def test_drop_in(run: Found) -> None:
    """A spider that knows nothing of sessions sends the same requests with the add-on as without."""
    assert _sent(run["add-on"]) == _sent(run["plain"])


def test_an_explicit_entry_does_not_double_cookies(run: Found) -> None:
    """A project that lists Scrapy's CookiesMiddleware itself sends each cookie once."""
    assert _sent(run["explicit"]) == _sent(run["plain"])
    assert _stats(run["explicit"]) == _stats(run["add-on"])


def test_an_explicit_entry_gives_way() -> None:
    """Scrapy's middleware is off with the add-on, wherever the project put it."""
    settings = Settings({"DOWNLOADER_MIDDLEWARES": {SCRAPYS: 700}})
    SessionsAddon().update_settings(settings)
    enabled = settings.getdict("DOWNLOADER_MIDDLEWARES")
    assert [priority for name, priority in enabled.items() if "cookies.CookiesMiddleware" in str(name)] == [None]


def test_cookies_off_keeps_sessions(run: Found) -> None:
    """With COOKIES_ENABLED=False no cookie is sent, and sessions are picked and counted all the same."""
    done, seen = run["cookies off"]
    assert {len(arrival.cookie_pairs) for arrival in seen} == {0}
    assert done.stats["sessions/created"] == 2
    assert [item["session"] for item in done.items][:2] == ["default#1", "default#1"]


def test_a_projects_place_for_a_component_stays() -> None:
    """A component that the project put elsewhere itself stays there."""
    ours = "scrapy_sessions.middlewares.SessionMiddleware"
    settings = Settings({"DOWNLOADER_MIDDLEWARES": {ours: 42}})
    SessionsAddon().update_settings(settings)
    entries = {str(name): place for name, place in settings.getdict("DOWNLOADER_MIDDLEWARES").items()}
    assert [place for name, place in entries.items() if "SessionMiddleware" in name] == [42]


def test_middlewares_alone_say_what_is_missing() -> None:
    """A project that lists the middlewares without the extension is told of it before its first request."""
    crawler: Crawler = get_crawler(settings_dict={"SESSIONS_STORE": "memory://"})
    with pytest.raises(SessionConfigurationError, match="SessionsExtension in EXTENSIONS"):
        SessionRouter.of(crawler)


def test_the_addon_is_found_by_its_path() -> None:
    """The line of the documentation, as it stands there, is the add-on."""
    crawler = get_crawler(settings_dict={"SESSIONS_STORE": "memory://", "ADDONS": ADDON})
    assert isinstance(crawler.get_extension(SessionsExtension), SessionsExtension)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"COOKIES_ENABLED": False},
        {"DOWNLOADER_MIDDLEWARES": {"scrapy_sessions.middlewares.SessionCookiesMiddleware": None}},
    ],
)
async def test_a_request_counts_as_sent_without_cookies_too(settings: dict[str, Any]) -> None:
    """Whether there are cookies or not, the last middleware that sees a request notes that it leaves."""
    crawler = get_crawler(settings_dict={"SESSIONS_STORE": "memory://", "ADDONS": ADDON, **settings})
    crawler.spider = Spider.from_crawler(crawler, "shop")
    router = SessionRouter.of(crawler)
    async with router.manager:
        request = Request("http://shop.example/", meta={"session_id": "alice", "allow_offsite": True})

        async def download(request: Request) -> Response:
            inflight = router.in_flight.get(request)
            assert inflight is not None
            assert inflight.was_sent
            return Response(request.url, request=request)

        await DownloaderMiddlewareManager.from_crawler(crawler).download_async(download, request)
        session = await router.manager.get("alice")
        assert session.actions == ["GET http://shop.example/ 200"]
        assert session.pages_visited == 1


class PlainHandler:
    """A download handler that has nothing to do with scrapy-playwright."""


def handlers(**given: Any) -> dict[str, Any]:
    """What the add-on makes of ``DOWNLOAD_HANDLERS``."""
    settings = Settings({"DOWNLOAD_HANDLERS": given})
    SessionsAddon().update_settings(settings)
    return settings.getdict("DOWNLOAD_HANDLERS")


def test_scrapy_playwrights_handler_is_replaced() -> None:
    """Its handler, by path or class, is replaced; a subclass keeps what it overrides; others stay as they are."""
    pytest.importorskip("scrapy_playwright", reason="the package scrapy-playwright is not installed")
    from scrapy_playwright.handler import ScrapyPlaywrightDownloadHandler  # noqa: PLC0415

    from scrapy_sessions.browser.handler import SessionsPlaywrightHandler  # noqa: PLC0415

    class Own(ScrapyPlaywrightDownloadHandler):  # type: ignore[misc]
        def greeting(self) -> str:
            return "hello"

    path = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
    assert handlers(http=path, https=ScrapyPlaywrightDownloadHandler) == {
        "http": SessionsPlaywrightHandler,
        "https": SessionsPlaywrightHandler,
    }
    made = handlers(https=Own)["https"]
    assert issubclass(made, SessionsPlaywrightHandler)
    assert issubclass(made, Own)
    others = {
        "http": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
        "ftp": None,
        "https": SessionsPlaywrightHandler,
        "data": "no.such.Handler",
        "file": PlainHandler,
        "s3": f"{__name__}.PlainHandler",
    }
    assert handlers(**others) == others
