"""The spiders of the project, as far as commands need them without a crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.spiderloader import get_spider_loader

from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.config import SessionConfig
from scrapy_sessions.crawl.configs import Configs

if TYPE_CHECKING:
    from scrapy.spiderloader import SpiderLoaderProtocol


def spider_class(loader: SpiderLoaderProtocol, name: str) -> type[Spider]:
    """Return the class of the spider *name*.

    Raises :exc:`~scrapy_sessions.commands.support.context.CommandError` if there is none.
    """
    try:
        return loader.load(name)
    except KeyError:
        raise CommandError(f"There is no spider {name!r}: scrapy list prints the spiders") from None


def crawler_of(context: Context, name: str | None) -> Crawler:
    """Return a crawler with the settings of a crawl: with those of the add-ons, and of the spider *name* if given.

    Raises :exc:`~scrapy_sessions.commands.support.context.CommandError` if there is no such spider.
    """
    spidercls: type[Spider] = Spider
    if name is not None:
        spidercls = spider_class(get_spider_loader(context.settings), name)
    crawler = Crawler(spidercls, context.settings)
    crawler.addons.load_settings(crawler.settings)
    return crawler


def config_of(context: Context, crawler: Crawler, url: str | None) -> SessionConfig:
    """Return the config that the spider of *crawler* uses for *url*; ``None``: for its first page.

    As far as its class says: no spider is made. Raises
    :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`.
    """
    spidercls = crawler.spidercls
    configs = Configs(crawler, context.session_settings.config, context.store)
    configs.look_at_spider(spidercls)
    if url is None:
        domains = (f"https://{domain}/" for domain in getattr(spidercls, "allowed_domains", None) or ())
        url = next(iter([*getattr(spidercls, "start_urls", ()), *domains]), "")
    return configs.of(url)
