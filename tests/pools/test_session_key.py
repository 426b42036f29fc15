"""``session_key``: the same key, the same session: in every process, when the pool grows, after retirements."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions.pools.pool import Pool
from scrapy_sessions.settings import SessionsSettings
from tests.support.bans import BanningSite, ask
from tests.support.crawl import ENVIRONMENT

KEYS = [f"customer {number}" for number in range(300)]


def pool(**options: Any) -> Pool:
    return Pool.declared("shop", SessionsSettings.model_validate({"pools": {"shop": options}}))


def test_keys_are_spread() -> None:
    """Keys go to all sessions, to none by far more than its share."""
    shop = pool(size=4)
    counts = Counter(shop.pick(key) for key in KEYS)
    assert (len(counts), sum(counts.values())) == (4, len(KEYS))
    assert max(counts.values()) < len(KEYS) / 2


def test_a_key_in_another_process() -> None:
    """A key means the same session in a fresh process, with other hash seeds, whatever was picked before."""
    shop = pool(size=7)
    for _ in range(3):
        shop.pick()
    code = (
        "import json; from scrapy_sessions.pools.pool import Pool;"
        "from scrapy_sessions.settings import SessionsSettings;"
        "shop = Pool.declared('shop', SessionsSettings(pools={'shop': {'size': 7}}));"
        "print(json.dumps([shop.pick(f'customer {n}') for n in range(300)]))"
    )
    environment = {**ENVIRONMENT, "PYTHONHASHSEED": "42"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert json.loads(done.stdout) == [shop.pick(key) for key in KEYS]


@given(key=st.text(), size=st.integers(1, 200))
def test_a_pool_that_grows(key: str, size: int) -> None:
    """When a pool grows by one, a key stays where it is, or goes to the new session."""
    before, after = pool(size=size).pick(key), pool(size=size + 1).pick(key)
    assert after in {before, f"shop#{size + 1}"}


@given(size=st.integers(1, 20), retired=st.lists(st.integers(0, 19), max_size=60))
def test_retirements_in_any_order(size: int, retired: list[int]) -> None:
    """Processes that hear of retired sessions in another order agree on who took their places."""
    slots = [slot % size for slot in retired]
    first, second = pool(size=size), pool(size=size)
    for shop, order in ((first, slots), (second, sorted(slots))):
        held = [shop.pick() for _ in range(size)]
        for slot in order:
            successor = shop.successor(held[slot])
            assert successor is not None
            shop.retire_slot(held[slot])
            held[slot] = successor
    picks = [first.pick(key) for key in KEYS[:50]]
    assert picks == [second.pick(key) for key in KEYS[:50]]


@given(size=st.integers(1, 30), gone=st.sets(st.integers(0, 29)))
def test_other_keys_stay(size: int, gone: set[int]) -> None:
    """When sessions are retired, keys of the others stay, and each of theirs goes to one other session."""
    names = [f"account {number}" for number in range(size)]
    shop = pool(sessions=names)
    retired = {names[number] for number in gone if number < size - 1}
    before = {key: shop.pick(key) for key in KEYS[:60]}
    for name in sorted(retired):
        shop.retire_slot(name)
    heirs: dict[str, str] = {}
    for key, name in before.items():
        now = shop.pick(key)
        assert now not in retired
        assert now == (name if name not in retired else heirs.setdefault(name, now))


def test_an_account_in_another_order_of_retirements() -> None:
    """Which account stands in for a retired one doesn't depend on the order in which they were retired."""
    names = [f"account {number}" for number in range(9)]
    picks = []
    for order in (["account 3", "account 4", "account 0"], ["account 0", "account 4", "account 3"]):
        shop = pool(sessions=names)
        for name in order:
            shop.retire_slot(name)
            shop.pick("look")
        picks.append([shop.pick(key) for key in KEYS])
    assert picks[0] == picks[1]


async def test_keys_in_a_crawl(bans: BanningSite) -> None:
    """Requests with one key go out in one session, in a pool and in the default one; a number is a key, too."""
    keys = [{"session_pool": "shop", "session_key": number % 5} for number in range(40)]
    default = [{"session_key": f"{number % 3}"} for number in range(12)]
    asked = await ask(
        *((bans.url(f"/{number}/p"), meta) for number, meta in enumerate([*keys, *default])),
        SESSIONS_POOLS={"shop": {"size": 4}},
        SESSIONS_POOL_SIZE=3,
    )
    seen: dict[tuple[Any, Any], set[str]] = {}
    for number, meta in enumerate([*keys, *default]):
        key = (meta.get("session_pool"), meta["session_key"])
        seen.setdefault(key, set()).add(asked.sessions[number])
    assert [len(sessions) for sessions in seen.values()] == [1] * 8
    expected = pool(size=4)
    assert [seen["shop", key] for key in range(5)] == [{expected.pick(str(key))} for key in range(5)]
