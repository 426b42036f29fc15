"""Pools: whose turn it is, who takes the place of a retired one, and which profile a session is created with."""

from __future__ import annotations

from typing import Any

import pytest

from scrapy_sessions import InvalidSessionId, PoolExhausted, SessionManager, SessionRetired, UnknownPool, UnknownProfile
from scrapy_sessions.pools.claim import (
    FLOW,
    PICKED,
    REFUSED_BY,
    Claim,
    check_profile,
    cookiejar_id,
    is_named,
    read_claim,
)
from scrapy_sessions.pools.pool import Pool
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings


def pool(name: str = "shop", **settings: Any) -> Pool:
    return Pool.declared(name, SessionsSettings(**settings))


def test_anonymous_sessions_take_turns() -> None:
    """A pool of three makes its sessions one after the other, then goes round."""
    shop = pool(pools={"shop": {"size": 3}})
    assert [shop.pick() for _ in range(7)] == ["shop#1", "shop#2", "shop#3", "shop#1", "shop#2", "shop#3", "shop#1"]


def test_named_sessions_take_turns() -> None:
    """A pool of named sessions goes round in their order."""
    shop = pool(pools={"shop": {"sessions": ["alice", "bob"]}})
    assert [shop.pick() for _ in range(3)] == ["alice", "bob", "alice"]


def test_the_size_of_a_pool_without_one() -> None:
    """A pool without a size, the default one for example, has POOL_SIZE sessions."""
    default = pool("default", pool_size=2)
    assert [default.pick() for _ in range(3)] == ["default#1", "default#2", "default#1"]


def test_a_retired_anonymous_session_gets_a_successor() -> None:
    """The next number of its slot takes the place of a retired anonymous session."""
    shop = pool(pools={"shop": {"size": 2}})
    shop.pick(), shop.pick()
    shop.retire_slot("shop#1")
    assert [shop.pick() for _ in range(3)] == ["shop#3", "shop#2", "shop#3"]


def test_a_retired_named_session_has_no_successor() -> None:
    """The others take the turns of a retired named session."""
    shop = pool(pools={"shop": {"sessions": ["alice", "bob", "carol"]}})
    shop.retire_slot("alice")
    assert {shop.pick() for _ in range(4)} == {"bob", "carol"}
    shop.retire_slot("carol")
    assert {shop.pick() for _ in range(4)} == {"bob"}


def test_replacing_twice_changes_nothing_more() -> None:
    """Who reports a session a second time takes no other out."""
    shop = pool(pools={"shop": {"size": 2}})
    shop.pick(), shop.pick()
    shop.retire_slot("shop#1")
    shop.retire_slot("shop#1")
    assert {shop.pick() for _ in range(4)} == {"shop#3", "shop#2"}


def test_an_exhausted_pool_says_so() -> None:
    """When all named sessions are retired, the error names the pool, each reason and the remedy, given a key too."""
    shop = pool(pools={"shop": {"sessions": ["alice", "bob"]}})
    shop.retire_slot("alice", "blocked at http://x.example/p")
    shop.retire_slot("bob", "suspended")
    for key in (None, "k"):
        with pytest.raises(PoolExhausted) as caught:
            shop.pick(key)
        assert str(caught.value) == (
            "Every session of the pool 'shop' is retired (alice: blocked at http://x.example/p; bob: suspended): "
            "delete them to begin anew, or add others to SESSIONS_POOLS['shop']['sessions']"
        )


def test_an_undeclared_pool() -> None:
    """A pool that isn't declared is an error with the nearest name."""
    with pytest.raises(UnknownPool, match=r"no pool 'shpo' \(did you mean shop\?\); there are: default, shop"):
        pool("shpo", pools={"shop": {}})


def test_a_pools_own_policy_wins() -> None:
    """A pool's limits go before the settings; 0 is a limit of its own, not an absent one."""
    options = {"idle_timeout": 0, "max_uses": 3, "sticky": False}
    shop = pool(pools={"shop": options}, idle_timeout=60, max_age=70, max_uses=80, sticky=True)
    assert (shop.idle_timeout, shop.max_age, shop.max_uses, shop.sticky) == (0, 70, 3, False)


@pytest.mark.parametrize(
    ("options", "profiles"),
    [
        ({"size": 3}, ["a", "b", "a"]),
        ({"size": 3, "profiles": ["b"]}, ["b", "b", "b"]),
        ({"sessions": ["x", "y", "z"], "profiles": ["b", "a"]}, ["b", "a", "b"]),
    ],
)
def test_profiles_are_given_in_turn(options: dict[str, Any], profiles: list[str]) -> None:
    """Sessions of a pool get its profiles in turn, by their number: the same in every run."""
    shop = pool(pools={"shop": options}, profiles={"a": {}, "b": {}})
    assert [shop.profile_of(shop.pick()) for _ in range(3)] == profiles


def test_an_undeclared_profile() -> None:
    """A request's profile that isn't declared, or is no string, is an error with the remedy."""
    settings = SessionsSettings(profiles={"desk": {}})
    assert check_profile("desk", settings) == "desk"
    with pytest.raises(UnknownProfile, match=r"no profile 'dsek' \(did you mean desk\?\)"):
        check_profile("dsek", settings)
    with pytest.raises(UnknownProfile, match="must be a string, not int"):
        check_profile(1, settings)


@pytest.mark.parametrize(
    ("meta", "claim"),
    [
        ({}, Claim(None, "default", untagged=True)),
        ({"session_key": 5}, Claim(None, "default", key="5", untagged=True)),
        ({"session_pool": "p", "session_key": "k"}, Claim(None, "p", key="k")),
        (
            {"session_pool": "p", REFUSED_BY: [["p#1", True], ["p#2", False]]},
            Claim(None, "p", avoid=frozenset({"p#1", "p#2"})),
        ),
        ({"session_id": None}, None),
        ({"session_id": "alice"}, Claim("alice", None)),
        ({"session_id": "alice", "session_pool": "staff"}, Claim("alice", "staff")),
        ({"session_pool": "staff", "session_profile": "desk"}, Claim(None, "staff", "desk")),
        ({"cookiejar": "bob"}, Claim("bob", None)),
        ({"cookiejar": 1}, Claim("cookiejar:int:1", None)),
        ({"cookiejar": None}, Claim(None, "default", untagged=True)),
        ({"cookiejar": "bob", "session_id": "alice"}, Claim("alice", None)),
        ({"cookiejar": "bob", "session_id": "x", PICKED: "x"}, Claim("bob", None, before="x")),
        ({"session_id": "x", PICKED: "x", "session_pool": "p"}, Claim("x", "p", before="x", picked=True)),
        ({"session_id": "x", PICKED: "x", "session_pool": "p", FLOW: 1.5}, Claim("x", "p", before="x")),
        ({"session_id": "alice", PICKED: "x"}, Claim("alice", None, before="x")),
    ],
)
def test_what_a_request_asks_for(meta: dict[str, Any], claim: Claim | None) -> None:
    """Each meta key means what the docs say; session_id wins over cookiejar unless we put it there."""
    assert read_claim(meta) == claim


def test_the_default_id() -> None:
    """SESSIONS_DEFAULT_ID is for requests that ask for nothing, and for no others."""
    assert read_claim({}, "me") == Claim("me", None, untagged=True)
    assert read_claim({"session_pool": "staff"}, "me") == Claim(None, "staff")


@pytest.mark.parametrize(
    "meta", [{"session_id": ""}, {"session_id": 5}, {"session_id": "a\nb"}, {"session_id": "x" * 256}]
)
def test_bad_ids_are_refused(meta: dict[str, Any]) -> None:
    """A session_id that can't be one is refused."""
    with pytest.raises(InvalidSessionId):
        read_claim(meta)


@pytest.mark.parametrize("key", [1.5, b"k", ("k",)])
def test_a_key_of_a_wrong_type_is_refused(key: Any) -> None:
    """A session_key that is neither string nor int is refused by its type."""
    with pytest.raises(InvalidSessionId, match=f"'session_key' must be a string or int, not {type(key).__name__}"):
        read_claim({"session_key": key})


def test_a_pool_of_a_wrong_type_is_refused() -> None:
    """A session_pool that is no string is refused by its type."""
    with pytest.raises(UnknownPool, match="'session_pool' must be a string, not list"):
        read_claim({"session_pool": ["a"]})


@pytest.mark.parametrize(
    ("meta", "named"),
    [
        ({"session_id": "a"}, True),
        ({"session_id": "a", "session_pool": "p"}, False),
        ({"session_id": "a", PICKED: "a"}, False),
        ({"session_id": 5}, False),
        ({}, False),
    ],
)
def test_who_names_a_session_itself(meta: dict[str, Any], named: bool) -> None:
    """Only a request that says session_id itself, without a pool, names its session."""
    assert is_named(meta) is named


def test_cookiejar_keys_are_told_apart_as_in_scrapy() -> None:
    """1, 1.0 and True are one key, "1" another; each other kind of text form is its own."""
    assert cookiejar_id(1) == cookiejar_id(1.0) == cookiejar_id(True) == "cookiejar:int:1"
    keys: list[Any] = ["1", 1, 1.5, b"1", (1,), ("1",), (1, None), "a\nb", "x" * 300]
    assert len({cookiejar_id(key) for key in keys}) == len(keys)
    assert cookiejar_id(object()) is None
    assert cookiejar_id((object(),)) is None
    assert cookiejar_id("alice") == "alice"


async def test_retired_sessions_leave_their_pool() -> None:
    """A request to a pool whose session was retired gets another; one that names it gets an error."""
    settings = SessionsSettings(pools={"shop": {"size": 1}})
    async with SessionManager(store="memory://", namespace="x", settings=settings) as manager:
        first = await registry_of(manager).obtain(registry_of(manager).settle(Claim(None, "shop")))
        first.retire("blocked")
        second = await registry_of(manager).obtain(registry_of(manager).settle(Claim(None, "shop")))
        assert (first.id, second.id) == ("shop#1", "shop#2")
        with pytest.raises(SessionRetired, match=r"'shop#1' was retired \(blocked\): put it back into use"):
            await registry_of(manager).obtain(Claim("shop#1", None))


async def test_a_session_takes_the_policy_of_its_pool() -> None:
    """A session is created under its pool's policy and profile; a named one under those of the settings."""
    settings = SessionsSettings(
        pools={"shop": {"max_age": 5, "profiles": ["desk"]}},
        profiles={"lap": {"user_agent": "L"}, "desk": {"user_agent": "D"}},
    )
    async with SessionManager(store="memory://", namespace="x", settings=settings) as manager:
        pooled = await registry_of(manager).obtain(registry_of(manager).settle(Claim(None, "shop")))
        named = [await manager.get(name) for name in ("alice", "bob", "carol")]
        asked = await manager.get("dora", profile="desk")
    assert (pooled.max_age, pooled.user_agent, pooled.pool) == (5, "D", "shop")
    assert [(runtime_of(session).max_age, session.user_agent) for session in named] == [(0, "L"), (0, "D"), (0, "L")]
    assert asked.profile_name == "desk"


def test_a_string_is_never_the_id_of_another_key() -> None:
    """A string cookiejar that looks like the id of the key 1 is a session of its own."""
    assert cookiejar_id(1) != cookiejar_id("cookiejar:int:1")
