"""A spider that yields items of every type, from pages of each kind of session; an item pipeline that meets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import attrs
import pydantic
import scrapy
from scrapy import Request
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["Types"]


class ScrapyItem(scrapy.Item):
    kind = scrapy.Field()
    session = scrapy.Field()


@dataclass
class DataItem:
    kind: str
    session: str | None = None


@attrs.define
class AttrsItem:
    kind: str
    session: str | None = None


class PydanticItem(pydantic.BaseModel):
    kind: str
    session: str | None = None


class ScrapyPlain(scrapy.Item):
    kind = scrapy.Field()


@dataclass
class DataPlain:
    kind: str


@attrs.define
class AttrsPlain:
    kind: str


class PydanticPlain(pydantic.BaseModel):
    kind: str


@dataclass(frozen=True)
class DataFrozen:
    kind: str
    session: str | None = None


@attrs.frozen
class AttrsFrozen:
    kind: str
    session: str | None = None


class PydanticFrozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    kind: str
    session: str | None = None


WITH_FIELD = [ScrapyItem, DataItem, AttrsItem, PydanticItem]
PLAIN = [ScrapyPlain, DataPlain, AttrsPlain, PydanticPlain]
FROZEN = [DataFrozen, AttrsFrozen, PydanticFrozen]


class Types(SiteSpider):
    """Yields an item of each type from a page of alice's, and dicts from pages of others."""

    name = "types"
    url: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.url, self.all_types, meta={"session_id": "alice"})
        for kind, meta in (("pooled", {"session_pool": "shop"}), ("none", {"session_id": None}), ("untagged", {})):
            yield Request(self.url, self.one_dict, meta=meta, cb_kwargs={"kind": kind}, dont_filter=True)

    def all_types(self, response: Response) -> Any:
        for cls in [*WITH_FIELD, *PLAIN, *FROZEN]:
            yield cls(kind=cls.__name__)
        yield {"kind": "dict"}
        yield {"kind": "stamped already", "session": "bob"}
        yield {"kind": "stamped None", "session": None}

    async def one_dict(self, response: Response, kind: str) -> Any:
        yield {"kind": kind}
