"""How the storages of a browser and of a session are merged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

storages = pytest.importorskip("scrapy_sessions.browser.storages", reason="the package playwright is not installed")

ENTRIES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"))


@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_the_browser_changed_is_taken(base: Any, browser: Any, session: Any) -> None:
    """Of each key the browser's change stands, deletions included; without one, the session's value."""
    merged = storages.merge_changes(base, browser, session)
    for key in {*base, *browser, *session}:
        source = session if base.get(key) == browser.get(key) else browser
        assert merged.get(key) == source.get(key)


@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_the_session_changed_stays(base: Any, browser: Any, session: Any) -> None:
    """Where the session comes first, only keys that it has not changed get the browser's change."""
    merged = storages.merge_changes(base, browser, session, session_first=True)
    for key in {*base, *browser, *session}:
        source = browser if base.get(key) == session.get(key) else session
        assert merged.get(key) == source.get(key)


def test_an_origin_without_entries_is_left_out() -> None:
    """An origin whose storage the site cleared has no entry in the record."""
    assert storages.merge_storages({"a": {"k": "1"}}, {}, {"a": {"k": "1"}, "b": {"k": "2"}}) == {"b": {"k": "2"}}


@pytest.mark.parametrize(
    ("limit", "new", "kept", "left_out"),
    [
        pytest.param(0, {"a": "x" * 99}, {"a": "x" * 99}, [], id="no limit"),
        pytest.param(9, {"a": "old", "b": "xx"}, {"a": "old", "b": "xx"}, [], id="at the limit"),
        pytest.param(8, {"a": "old", "b": "xx"}, {"a": "old"}, ["local_storage of b"], id="beyond"),
        pytest.param(8, {"a": "x" * 99}, {"a": "old"}, ["local_storage of a"], id="changed beyond"),
        pytest.param(8, {}, {}, [], id="removed"),
        pytest.param(0, {"a": float("nan")}, {"a": "old"}, ["local_storage of a"], id="no JSON"),
    ],
)
def test_the_bound_keeps_what_was_saved(limit: int, new: Any, kept: Any, left_out: list[str]) -> None:
    """An origin beyond the bound stays as it was; what is removed needs no space."""
    old = {"local_storage": {"a": "old"}}
    assert storages.bounded(limit, {"local_storage": new}, old) == ({"local_storage": kept}, left_out)
