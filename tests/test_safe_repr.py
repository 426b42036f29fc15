"""The ``repr()`` and ``str()`` of our objects show names, and no cookie, header, proxy, password or data."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import pkgutil
import re
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel
from scrapy import Request

import scrapy_sessions
from scrapy_sessions import BrowserSession, Profile, SessionManager, config, models
from scrapy_sessions.crawl.identity import identity_of
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.formats.importing import merge
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.encoding import encode_parts
from scrapy_sessions.sessions.json_data import CheckedDict
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.proxy_token import new_rotation
from scrapy_sessions.storage import MemoryStore, base
from scrapy_sessions.storage.codec import encode

SECRET = "hunter2"

# Fields that may be shown: what a user types, or a log shows anyway. A field with another name must be hidden, or be
# added here by somebody who has thought about it.
NAMES = set(
    re.findall(
        r"\w+",
        """
namespace session_id pool name names profile profile_name profiles sessions kind status expires_by reason what
format domain host path same_site partition_key user_agent language timezone by_status marks ignored title
suffix level check text remedy fields picked avoid before transient key part detail retired_reason
types default_id config item_field prometheus_file fallback_fingerprinter strategy guess
writer holder who digest site on_login_failed
""",
    )
)
SHOWN_BY = {"_View": {"headers"}}  # of the columns of a table
# Their objects are made to be shown, and get only what was redacted: tests/report/test_secrets.py.
SHOWN = ("scrapy_sessions.report.",)


def classes() -> Iterator[type]:
    """Every class of the package that has fields, and so a ``repr()`` that shows them unless it is replaced."""
    for module in pkgutil.walk_packages(scrapy_sessions.__path__, "scrapy_sessions."):
        if module.name.startswith(SHOWN):
            continue
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and found.__module__ == module.name and fields_of(found):
                yield found


def fields_of(cls: type) -> list[str]:
    """The fields of a named tuple, dataclass or pydantic model."""
    if issubclass(cls, BaseModel):
        return list(cls.model_fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "_fields", ()))


def marked(hint: Any, mark: str) -> Any:
    """A value of the type *hint* that contains *mark* wherever it can contain text."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {typing.Annotated, typing.ClassVar}:
        return marked(inner[0], mark)
    if origin in {typing.Union, types.UnionType}:
        return marked(next(each for each in inner if each is not type(None)), mark)
    if origin is Callable:
        return print
    if origin is Counter or (origin in {dict, Mapping} and inner == (str, Any)):  # of numbers
        return {"a name": 7}
    if origin in {dict, Mapping}:
        return {"a name": marked(inner[1], mark)}
    if origin in {list, Iterable, Sequence, set, frozenset}:
        return [marked(inner[0], mark)]
    if origin is tuple:
        values = tuple(marked(each, mark) for each in inner if each is not ...)
        name = "a name" if inner[0] is str else b"a name"
        return (name, values[1]) if len(values) == 2 else values
    if origin is None and isinstance(hint, type) and fields_of(hint):
        return instance_of(hint)
    if hint is bytes:
        return mark.encode()
    if hint in {int, float, bool}:
        return 7
    is_opaque = isinstance(origin or hint, type) and (origin or hint).__module__ not in {"builtins", "typing"}
    return object() if is_opaque else mark


def instance_of(cls: type) -> Any:
    """An object of *cls* whose fields contain secrets with their names. In a mapping or pair, the first is a name."""
    # Some names are imported for type checkers only.
    module = vars(sys.modules[cls.__module__])
    names = {**vars(models), **vars(base), **vars(config), **module}
    hints = typing.get_type_hints(cls, localns=names, include_extras=True)
    values = {name: marked(hints.get(name, str), f"{SECRET}-{name}-") for name in fields_of(cls)}
    if issubclass(cls, BaseModel):
        extra: dict[str, Any] = {"novel": f"{SECRET}-novel-"} if cls.model_config.get("extra") == "allow" else {}
        return cls.model_construct(**values, **extra)
    if not dataclasses.is_dataclass(cls):
        return cls(**values)
    made = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("cls", list(classes()), ids=lambda cls: f"{cls.__module__[16:]}.{cls.__name__}")
def test_no_class_shows_more_than_names(cls: type) -> None:
    """An object whose every field contains a secret shows those fields only that contain names."""
    made = instance_of(cls)
    shown = set(re.findall(rf"{SECRET}-(\w+)-", f"{made!r} {made} {[made]}"))
    assert shown - NAMES - SHOWN_BY.get(cls.__name__, set()) == set()


def test_the_walk_finds_every_class_that_has_fields() -> None:
    """The test above looks at the classes that contain a session's secrets."""
    found = {cls.__name__ for cls in classes()}
    assert {
        "Change",
        "Contents",
        "Cookie",
        "Identity",
        "Merge",
        "Metrics",
        "Parts",
        "PersistentSession",
        "PoolOptions",
        "Profile",
        "RecordPlan",
        "Refusal",
        "Row",
        "SessionsSettings",
        "SetCookie",
    } <= found


def reachable(*roots: object) -> Iterator[object]:
    """All objects of our classes that *roots* refer to, in any number of steps."""
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | types.ModuleType | types.FunctionType):
            continue
        seen[id(found)] = found
        if type(found).__module__.startswith("scrapy_sessions"):
            yield found
        waiting += gc.get_referents(found)


def filled(session: BrowserSession) -> BrowserSession:
    """*session* with a secret in every place."""
    session.cookies.store([f"sid={SECRET}; Secure"], urlsplit("https://shop.example/"))
    session.cookies.header(urlsplit("https://shop.example/"))
    session.headers.set("Authorization", SECRET, url="https://shop.example")
    session.proxy = f"http://8letters:{SECRET}@proxy.example:8080"
    session.data["token"] = {"deep": SECRET}
    session.local_storage["https://shop.example"] = {"token": SECRET}
    session.session_storage["https://shop.example"] = {"token": SECRET}
    session.record(SECRET)
    return session


async def test_no_live_object_shows_a_secret() -> None:
    """Everything that a session with secrets consists of, from manager and store to encoded parts, shows none."""
    profile = Profile(
        headers={"X-Key": SECRET}, proxy=f"http://{{token}}:{SECRET}@proxy.example:8080", proxy_lifetime=60.0
    )
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop") as manager:
        session = filled(await manager.get("alice"))
        await manager.flush()
        runtime = runtime_of(session)
        runtime.rotate_proxy(new_rotation(profile, 0.0))
        record = session.snapshot()
        assert record.proxy_rotation is not None
        contents = Contents(cookies=record.cookies, local_storage=record.local_storage, headers=record.headers)
        objects = [
            *reachable(
                *(manager, registry_of(manager), session, runtime, record, profile, contents),
                *(encode(record), encode_parts(runtime), merge(record, contents, now=0.0, replace=False)),
                *(identity_of(runtime, Request("https://shop.example/")), BrowserSession("bob", profile=profile)),
            )
        ]
        # session.data and the storages are dicts that the spider may print.
        shows = [
            type(each).__name__ for each in objects if SECRET in f"{each!r} {each}" and type(each) is not CheckedDict
        ]
    assert len({type(each) for each in objects}) > 20
    assert shows == []
