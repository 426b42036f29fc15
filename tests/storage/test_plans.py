"""What a listing reads: indexes only, whatever is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.storage import Key, SQLiteStore
from scrapy_sessions.testing import make_row
from tests.support.query_plans import Ask, Recorder, plans, record


def page(**filters: Any) -> Ask:
    async def ask(store: SQLiteStore) -> None:
        first = await store.list(now=0.0, limit=2, **filters)
        assert await store.list(now=0.0, limit=2, after=first[-1], **filters)

    return ask


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"namespace": "a"},
        {"pool": "p"},
        {"status": "ready"},
        {"namespace": "a", "pool": "p"},
        {"namespace": "a", "status": "ready"},
        {"namespace": "a", "pool": "p", "status": "ready"},
    ],
)
def test_listing_stays_in_its_index(tmp_path: Path, filters: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is sought in an index that covers it: no body is read, nothing sorted, nothing scanned."""
    steps = plans(tmp_path / "s.db", page(**filters), monkeypatch)
    assert steps
    assert [step for step in steps if not step.startswith("SEARCH sessions USING COVERING INDEX")] == []
    assert any("(namespace=? AND pool=? AND last_activity<?)" in step for step in steps)
    assert any("(namespace=? AND pool=? AND last_activity=? AND session_id>?)" in step for step in steps)


@pytest.mark.parametrize("namespace", ["a", None])
def test_expiry_stays_in_its_index(tmp_path: Path, namespace: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is what has expired."""
    steps = plans(tmp_path / "s.db", lambda store: store.expired(namespace, now=9.0, limit=9), monkeypatch)
    assert any("sessions_by_expiry" in step for step in steps)
    assert [step for step in steps if not step.startswith("SEARCH sessions USING COVERING INDEX")] == []


def test_find_uses_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is sought in all namespaces by the primary key."""
    steps = plans(tmp_path / "s.db", lambda store: store.find("s1", now=0.0), monkeypatch)
    assert len(steps) == 1
    assert steps[0].startswith("SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (session_id=?")


def test_many_records_are_sought_by_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of records take a statement or two, and each of them is sought by the primary key."""
    keys = [Key("a", f"s{number}") for number in range(500)]
    steps = plans(tmp_path / "s.db", lambda store: store.load_many(keys), monkeypatch)
    assert len(steps) == 2
    searched = "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (session_id=? AND namespace=?)"
    assert all(step.startswith(searched) for step in steps)


@pytest.mark.parametrize("one_moment", [False, True])
async def test_a_page_reads_what_it_returns(tmp_path: Path, one_moment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From page to page of 60 pools, no more is read than a few times the page, also within one moment."""
    record(monkeypatch)
    store = SQLiteStore(tmp_path / "s.db")
    await store.open()
    many = range(60 * 100)
    saved = [
        make_row(f"s{number:04}", pool=f"p{number % 60}", last_activity=0.0 if one_moment else -float(number))
        for number in many
    ]
    await store.save(saved)
    # The newest of all stand in one pool: what the other pools are asked for is then not needed.
    await store.save([make_row(f"x{number:03}", pool="p7", last_activity=9.0) for number in range(200)])
    page: list[Any] = []
    listed: list[str] = []
    for _ in range(5):
        Recorder.rows = 0
        page = await store.list(now=0.0, limit=100, after=page[-1] if page else None)
        listed += [info["session_id"] for info in page]
        assert Recorder.rows <= 4 * 100 + 3 * 60
    await store.close()
    assert listed == [f"x{number:03}" for number in range(200)] + [f"s{number:04}" for number in range(300)]
