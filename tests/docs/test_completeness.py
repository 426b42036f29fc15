"""The documentation names everything there is, and nothing that there isn't."""

from __future__ import annotations

import ast
import importlib
import re
from typing import get_args

import pytest
from scrapy.utils.misc import load_object

from scrapy_sessions import Verdict, exceptions
from scrapy_sessions.cookies import REFUSAL_REASONS
from scrapy_sessions.models import ExpiryReason
from scrapy_sessions.settings import SessionsSettings, setting_name
from tests.support.docs_pages import DOCS, PACKAGE, PAGES, README, generated, text_of

SCRAPYS_META = {
    "cached_response",
    "dont_obey_robotstxt",
    "download_latency",
    "playwright",
    "playwright_context_kwargs",
    "playwright_include_page",
    "playwright_page",
    "redirect_times",
    "redirect_urls",
    "_auth_proxy",
    "_dont_cache",
    "_scheme_proxy",
}  # keys of Scrapy and its plug-ins


def test_readme_has_the_commands() -> None:
    """The README tells how to see the demos and how to run the tests, each as one line to copy."""
    lines = [line.strip() for line in text_of(README).splitlines()]
    assert "python -m pip install tox && python -m tox -e demo" in lines
    assert "python -m pip install tox && python -m tox -e demo-workers" in lines
    assert "python -m pip install tox && python -m tox -e demo-browser" in lines
    assert "python -m pip install tox && python -m tox" in lines


def everything() -> str:
    return "\n".join(map(text_of, PAGES))


def test_every_setting_is_documented() -> None:
    """The reference lists every setting with its default and a description, and every one is used on another page."""
    assert ".. session-settings::" in text_of(DOCS / "reference" / "settings.rst")
    listed = "\n".join(generated.setting_list())
    lists = {"api.rst", "commands.rst", "meta.rst", "settings.rst", "stats.rst"}
    others = "\n".join(text_of(page) for page in PAGES if page.name not in lists)
    for field, info in SessionsSettings.model_fields.items():
        assert f".. setting:: {setting_name(field)}\n" in listed
        assert info.description
        assert info.description in listed
        assert f"Default: ``{info.default!r}``" in listed
        assert f":setting:`{setting_name(field)}`" in others


def test_no_setting_is_made_up() -> None:
    """The documentation names no setting that there isn't."""
    known = {setting_name(field) for field in SessionsSettings.model_fields}
    assert set(re.findall(r"\bSESSIONS_[A-Z_]+[A-Z]\b", everything())) - known == set()


def told(model: str) -> dict[str, str]:
    """What the one ``session-fields`` directive for *model* says of its fields."""
    found = re.findall(rf"^( *)\.\. session-fields:: {model}\n((?:\1    .*\n|\n)*)", everything(), re.MULTILINE)
    assert len(found) == 1, f"{model} is listed {len(found)} times"
    return dict(line.strip().split(": ", 1) for line in found[0][1].splitlines() if line.strip())


@pytest.mark.parametrize("model", sorted(generated.MODELS))
def test_every_field_is_documented(model: str) -> None:
    """The fields of pools, profiles and records are listed, each with a description."""
    listed = generated.field_list(generated.MODELS[model], told(model))
    fields = generated.MODELS[model].model_fields
    assert [line.split("``")[1] for line in listed if line.startswith("``")] == list(fields)


def test_a_field_without_description_is_noticed() -> None:
    """A new field that nobody describes fails the build of the documentation, and so does one that is gone."""
    described = told("Profile")
    del described["proxy"]
    with pytest.raises(LookupError, match="proxy"):
        generated.field_list(generated.MODELS["Profile"], described)
    with pytest.raises(LookupError, match="shoe_size"):
        generated.field_list(generated.MODELS["Profile"], told("Profile") | {"shoe_size": "In EU sizes."})


def counted(source: str) -> set[str]:
    """The events that *source* counts: first arguments of ``count()``, ``{}`` for what is filled in."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        event = node.args[0]
        if name.lstrip("_") not in {"count", "on_event"}:
            continue
        if isinstance(event, ast.Constant) and isinstance(event.value, str):
            found.add(event.value)
        elif isinstance(event, ast.JoinedStr):
            found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in event.values))
    return found


def test_every_stat_is_documented() -> None:
    """The reference lists every stat that the package counts, and no other."""
    events = set().union(*(counted(text_of(path)) for path in PACKAGE.rglob("*.py")))
    assert {"created", "save_errors", "expired/{}", "cookies/refused/{}"} <= events  # the search does find them
    filled = {
        "expired/{}": get_args(ExpiryReason),
        "cookies/refused/{}": tuple(REFUSAL_REASONS),
        "verdicts/{}": tuple(verdict.value for verdict in Verdict if verdict is not Verdict.OK),
    }
    names = {f"sessions/{event.replace('{}', part)}" for event in events for part in filled.get(event, ("{}",))}
    page = text_of(DOCS / "reference" / "stats.rst")
    assert ".. session-refusals::" in page
    page += "\n".join(generated.reason_list())
    assert set(re.findall(r"\.\. stat:: (\S+)", page)) == names


def meta_keys(source: str) -> set[str]:
    """The meta keys that *source* names where it reads or writes ``meta``."""
    return set(re.findall(r"\bmeta(?:\.(?:get|pop|setdefault)\(|\[)\"(\w+)\"", source)) | {
        key
        for line in source.splitlines()
        if "meta" in line
        for key in re.findall(r"\"(\w+)\" (?:not )?in \S*meta\b", line)
    }


def test_every_meta_key_is_documented() -> None:
    """The reference names every meta key that the package looks at, and those of its own notes."""
    sources = [text_of(path) for path in PACKAGE.rglob("*.py")]
    used = set().union(*map(meta_keys, sources)) - SCRAPYS_META
    own = {name for source in sources for name in re.findall(r"= \"(_session_\w+)\"", source)}
    assert {"session_id", "session_pool", "session_profile", "cookiejar", "dont_merge_cookies"} <= used
    assert own
    page = text_of(DOCS / "reference" / "meta.rst")
    documented = set(re.findall(r"\.\. reqmeta:: (\S+)", page)) | set(re.findall(r"``(\w+)``", page))
    assert used | own <= documented


def test_every_exception_is_documented() -> None:
    """The API reference lists every exception."""
    listed = re.findall(r"^\.\. autoexception:: (\S+)$", text_of(DOCS / "reference" / "api.rst"), re.MULTILINE)
    assert sorted(listed) == sorted(exceptions.__all__)


def test_every_public_name_is_documented() -> None:
    """The API reference lists all that the package, the stores and the test kit make public."""
    page = text_of(DOCS / "reference" / "api.rst")
    listed = set(re.findall(r"^\.\. (?:auto)?(?:class|function|data):: ([\w.]+)", page, re.MULTILINE))
    listed |= {f"scrapy_sessions.{name}" for name in exceptions.__all__}
    objects = {id(load_object(name)) for name in listed if not name.startswith("scrapy_sessions.exceptions.")}
    for package in ("scrapy_sessions", "scrapy_sessions.cookies", "scrapy_sessions.storage", "scrapy_sessions.testing"):
        found = importlib.import_module(package)
        missing = [name for name in found.__all__ if id(getattr(found, name)) not in objects]
        assert missing == [], package
