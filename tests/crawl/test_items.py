"""``SESSIONS_ITEM_FIELD``: every item says which session it came in, if it can."""

from __future__ import annotations

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Site
from tests.support.spiders.items import FROZEN, PLAIN, WITH_FIELD


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> list[Crawl]:
    """A crawl with items of every type, and the same one without the setting."""
    types = {"url": site_process.url("/answer")}
    return crawl_jobs(
        tmp_path_factory.mktemp("items"),
        Job("tests.support.spiders.items.Types", types, {"SESSIONS_ITEM_FIELD": "session"}),
        Job("tests.support.spiders.items.Types", types),
        mode=request.param,
        SESSIONS_POOLS={"shop": {"sessions": ["carol"]}},
    )


@pytest.mark.parametrize("kind", [cls.__name__ for cls in WITH_FIELD])
def test_an_item_with_the_field_is_stamped(run: list[Crawl], kind: str) -> None:
    """An item of any type that has the field gets the id of its response's session, and stays of its type."""
    assert run[0].item(_type=kind) == {"_type": kind, "kind": kind, "session": "alice"}


def test_a_dict_is_stamped(run: list[Crawl]) -> None:
    """A dict gets the field although it hadn't it."""
    assert run[0].item(kind="dict") == {"kind": "dict", "session": "alice"}


@pytest.mark.parametrize(("kind", "session"), [("pooled", "carol"), ("untagged", "default#1")])
def test_a_picked_session_is_stamped(run: list[Crawl], kind: str, session: str) -> None:
    """From a pool it is the session that was picked."""
    assert run[0].item(kind=kind)["session"] == session


def test_no_session_stamps_nothing(run: list[Crawl]) -> None:
    """An item of a response that came in no session is left as it is."""
    assert run[0].item(kind="none") == {"kind": "none"}


def test_a_stamp_of_the_spiders_own_stays(run: list[Crawl]) -> None:
    """What the spider put into the field wins; None is as good as nothing."""
    assert run[0].item(kind="stamped already")["session"] == "bob"
    assert run[0].item(kind="stamped None")["session"] == "alice"


@pytest.mark.parametrize("kind", [cls.__name__ for cls in PLAIN])
def test_an_item_without_the_field_is_unchanged(run: list[Crawl], kind: str) -> None:
    """An item whose type has no such field goes on as it is."""
    assert run[0].item(_type=kind) == {"_type": kind, "kind": kind}


@pytest.mark.parametrize("kind", [cls.__name__ for cls in FROZEN])
def test_a_frozen_item_is_unchanged(run: list[Crawl], kind: str) -> None:
    """An item that can't be changed goes on as it is."""
    assert run[0].item(_type=kind) == {"_type": kind, "kind": kind, "session": None}


def test_unstamped_items_are_counted(run: list[Crawl]) -> None:
    """Each item that couldn't be stamped is counted."""
    assert run[0].stats["sessions/items_without_field"] == len(PLAIN) + len(FROZEN)


def test_unstamped_items_are_warned_of_once(run: list[Crawl]) -> None:
    """However many there are, one warning tells of the field."""
    assert run[0].log.count("has no field 'session'") == 1


def test_without_the_setting_nothing_is_stamped(run: list[Crawl]) -> None:
    """Items of a project that doesn't set it are left alone."""
    assert run[1].item(kind="dict") == {"kind": "dict"}
    assert run[1].item(_type="DataItem")["session"] is None
    assert "sessions/items_without_field" not in run[1].stats
