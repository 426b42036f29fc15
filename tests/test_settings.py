"""The settings: their defaults, their forms, and what is said of bad ones."""

from __future__ import annotations

import json
import re
from random import random
from typing import Any

import pytest
from scrapy.settings import Settings

from scrapy_sessions import SessionConfigurationError
from scrapy_sessions.pools.pool import Pool
from scrapy_sessions.settings import SessionsSettings, is_enabled, setting_name, setting_of


def read(**settings: Any) -> SessionsSettings:
    return SessionsSettings.from_settings(Settings(settings))


def fault(**settings: Any) -> str:
    with pytest.raises(SessionConfigurationError) as caught:
        read(**settings)
    return str(caught.value)


def raising() -> None:
    raise KeyError("s3cret")


def two_profiles() -> list[dict[str, str]]:
    return [{"user_agent": f"Agent {random()}"} for _ in range(2)]


def test_profiles_of_a_function() -> None:
    """A function, or its import path, is called once in a process; a list gets numbers for names."""
    by_path = read(SESSIONS_PROFILES=f"{__name__}.two_profiles").profiles
    assert list(by_path) == ["1", "2"]
    assert by_path == read(SESSIONS_PROFILES=two_profiles).profiles
    named = read(SESSIONS_PROFILES=lambda: {"desk": {"language": "de"}}, SESSIONS_POOLS={"a": {"profiles": ["desk"]}})
    assert named.profiles["desk"].language == "de"


def test_defaults() -> None:
    """Without settings the documented defaults hold."""
    settings = read()
    assert (settings.store, settings.enabled, settings.pool_size, settings.sticky) == ("sqlite://", True, 1, False)
    assert (settings.idle_timeout, settings.max_age, settings.max_uses) == (1800, 0, 0)
    assert (settings.save_interval, settings.cleanup_interval) == (1, 60)
    assert (settings.history_limit, settings.cache_size) == (100, 10_000)
    statuses = (settings.expired_statuses, settings.suspect_statuses, settings.blocked_statuses)
    assert (statuses, settings.retry_times, settings.max_errors) == (([401], [403], []), 3, 3)
    assert (settings.login_attempts, settings.login_backoff, settings.login_timeout) == (3, 1, 60)
    assert (settings.delay, settings.concurrency, settings.lease_ttl) == (0, 0, 30)


def test_defaults_are_valid() -> None:
    """The defaults, which nothing validates when no setting is given, are what validation makes of them."""
    settings = read()
    assert settings == SessionsSettings.model_validate(settings.model_dump())
    assert settings == SessionsSettings()


def test_every_setting_says_what_it_is_for() -> None:
    """Each setting has a description, from which the docs are made."""
    assert [name for name, field in SessionsSettings.model_fields.items() if not field.description] == []


def test_a_lone_surrogate_is_named() -> None:
    """Where a message would quote half a character, it names the setting that contains it instead."""
    settings = {"SESSIONS_PROFILES": {"\ud800a": {}}, "SESSIONS_POOLS": {"shop": {"size": 2, "profiles": ["a"]}}}
    with pytest.raises(SessionConfigurationError, match="SESSIONS_PROFILES contains text with half a character"):
        SessionsSettings.from_settings(settings)


def test_none_is_unset() -> None:
    """A setting that is None has its default."""
    assert read(SESSIONS_IDLE_TIMEOUT=None) == read()


@pytest.mark.parametrize(
    ("given", "seconds"), [("90s", 90), ("30m", 1800), ("12 h", 43200), ("3d", 259200), ("1.5h", 5400), ("60", 60)]
)
def test_durations_with_units(given: str, seconds: float) -> None:
    """A duration may be a text with a unit, in a setting and in the options of a pool."""
    settings = read(SESSIONS_IDLE_TIMEOUT=given, SESSIONS_POOLS={"shop": {"max_age": given}})
    assert (settings.idle_timeout, settings.pools["shop"].max_age) == (seconds, seconds)


@pytest.mark.parametrize("given", ["3 days", "d", "-3d", "1h30m", "3D", "3dd", "³d", "inf", "nan"])
def test_no_duration(given: str) -> None:
    """Another text is refused."""
    assert "SESSIONS_MAX_AGE: " in fault(SESSIONS_MAX_AGE=given)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("IDLE_TIMEOUT", "60", 60.0),
        ("MAX_USES", "5", 5),
        ("STICKY", "true", True),
        ("ENABLED", "0", False),
        ("EXPIRED_STATUSES", "401,419", [401, 419]),
        ("SUSPECT_STATUSES", "[403, 503]", [403, 503]),
        ("BLOCKED_STATUSES", "", []),
        ("DELAY", "1.5", 1.5),
        ("POOLS", '{"shop": {"size": 2}}', {"shop": {"size": 2}}),
        ("PROFILES", '{"desk": {"user_agent": "D"}}', {"desk": {"user_agent": "D"}}),
    ],
)
def test_from_the_command_line(name: str, text: str, value: Any) -> None:
    """Settings may be text, as from ``-s``; those of several parts JSON."""
    given = getattr(read(**{f"SESSIONS_{name}": text}), name.lower())
    if isinstance(value, dict):
        given = {key: options.model_dump(exclude_unset=True) for key, options in given.items()}
    assert given == value


def test_other_settings_are_not_ours() -> None:
    """What doesn't begin with SESSIONS_ is left to others."""
    assert read(SESSION_STORE="x", MY_SESSIONS_STORE="y") == read()


def test_defaults_of_others_are_not_ours() -> None:
    """A name that Scrapy or another plug-in gives a default is ignored, also if it is one of ours."""
    settings = Settings({"SESSIONS_POOL_SIZE": 3})
    settings.set("SESSIONS_MAX", 100, priority="default")
    settings.set("SESSIONS_STORE", 5, priority="default")
    settings.set("SESSIONS_ENABLED", False, priority="default")
    assert SessionsSettings.from_settings(settings) == read(SESSIONS_POOL_SIZE=3)
    assert setting_of(settings, "store") is None
    assert is_enabled(settings)


def test_what_a_project_sets_is_ours() -> None:
    """The same name, set by the project, is refused: nothing else here has such a setting."""
    assert "there is no setting SESSIONS_MAX (did you mean SESSIONS_MAX_AGE?)" in fault(SESSIONS_MAX=100)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("SESSIONS_IDLE_TIMOUT", "SESSIONS_IDLE_TIMEOUT"), ("SESSIONS_POOLSIZE", "SESSIONS_POOL_SIZE")],
)
def test_a_misspelt_setting(name: str, nearest: str) -> None:
    """A setting that doesn't exist is refused with the nearest name, and with no other."""
    message = fault(**{name: 1})
    assert message.endswith(f"there is no setting {name} (did you mean {nearest}?)")


def test_a_setting_that_resembles_none() -> None:
    """Without a nearest name, all there are are listed."""
    message = fault(SESSIONS_QXZQXZQXZQXZQXZ=1)
    assert all(setting_name(field) in message for field in SessionsSettings.model_fields)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"IDLE_TIMEOUT": "soon"},
            ["SESSIONS_IDLE_TIMEOUT: ", "text like '30m'", "got 'soon'", "0: never"],
        ),
        ({"IDLE_TIMEOUT": -1}, ["SESSIONS_IDLE_TIMEOUT: ", "greater than or equal to 0", "got -1"]),
        ({"MAX_AGE": float("inf")}, ["SESSIONS_MAX_AGE: ", "finite"]),
        ({"MAX_USES": 1.5}, ["SESSIONS_MAX_USES: ", "integer", "got 1.5"]),
        ({"POOL_SIZE": 0}, ["SESSIONS_POOL_SIZE: ", "greater than or equal to 1"]),
        ({"ENABLED": "perhaps"}, ["SESSIONS_ENABLED: ", "boolean", "got 'perhaps'"]),
        ({"DEFAULT_ID": "a\nb"}, ["SESSIONS_DEFAULT_ID: ", "printable"]),
        ({"NAMESPACE": ""}, ["SESSIONS_NAMESPACE: ", "must not be empty"]),
        ({"POOLS": "shop"}, ["SESSIONS_POOLS: ", "JSON"]),
        ({"POOLS": ["shop"]}, ["SESSIONS_POOLS: ", "dict"]),
        ({"POOLS": {"shop": {"szie": 1}}}, ["SESSIONS_POOLS['shop']['szie']", "did you mean size?", "idle_timeout"]),
        ({"POOLS": {"shop": {"size": 0}}}, ["SESSIONS_POOLS['shop']['size']", "greater than or equal to 1"]),
        ({"POOLS": {"shop": {"size": 1, "sessions": ["a"]}}}, ["SESSIONS_POOLS['shop']", "either 'size'", "not both"]),
        ({"POOLS": {"shop": {"sessions": [""]}}}, ["SESSIONS_POOLS['shop']['sessions']['0']", "must not be empty"]),
        ({"POOLS": {"shop": {"max_age": -1}}}, ["SESSIONS_POOLS['shop']['max_age']", "greater than or equal to 0"]),
        ({"POOLS": {"": {}}}, ["SESSIONS_POOLS['']", "must not be empty"]),
        ({"POOLS": {"x" * 201: {}}}, ["SESSIONS_POOLS", "at most 200 characters"]),
        (
            {"POOLS": {"shop": {"profiles": ["dsek"]}}, "PROFILES": {"desk": {}}},
            ["the pool 'shop' names the profile 'dsek'", "did you mean desk?"],
        ),
        (
            {"POOLS": {"shop": {"strategy": "fair"}}},
            ["SESSIONS_POOLS['shop']['strategy']", "'round_robin', 'least_used' or 'random'", "got 'fair'"],
        ),
        ({"POOLS": {"shop": {"delay": -1}}}, ["SESSIONS_POOLS['shop']['delay']", "greater than or equal to 0"]),
        ({"POOLS": {"shop": {"concurrency": 1.5}}}, ["SESSIONS_POOLS['shop']['concurrency']", "integer"]),
        ({"DELAY": float("inf")}, ["SESSIONS_DELAY: ", "finite"]),
        ({"CONCURRENCY": -1}, ["SESSIONS_CONCURRENCY: ", "greater than or equal to 0"]),
        ({"EXPIRED_STATUSES": "401,x"}, ["SESSIONS_EXPIRED_STATUSES['1']: ", "integer", "got 'x'"]),
        ({"BLOCKED_STATUSES": [99]}, ["SESSIONS_BLOCKED_STATUSES['0']: ", "greater than or equal to 100"]),
        ({"LOGIN_ATTEMPTS": 0}, ["SESSIONS_LOGIN_ATTEMPTS: ", "greater than or equal to 1"]),
        ({"LEASE_TTL": 0}, ["SESSIONS_LEASE_TTL: ", "greater than 0"]),
        ({"MAX_ERRORS": -1}, ["SESSIONS_MAX_ERRORS: ", "greater than or equal to 0", "0: never"]),
        ({"PROFILES": "tests.test_settings.nothing"}, ["SESSIONS_PROFILES: ", "'nothing'"]),
        ({"PROFILES": raising}, ["SESSIONS_PROFILES: ", "the function raised KeyError"]),
        ({"PROFILES": lambda: 5}, ["SESSIONS_PROFILES: ", "a dict or a list of profiles, not int"]),
        ({"PROFILES": lambda: [{"user_agnet": "x"}]}, ["SESSIONS_PROFILES['1']['user_agnet']", "user_agent?"]),
        ({"PROFILES": {"desk": {"user_agnet": "x"}}}, ["SESSIONS_PROFILES['desk']['user_agnet']", "user_agent?"]),
        ({"PROFILES": {"desk": {"viewport_width": 0}}}, ["SESSIONS_PROFILES['desk']['viewport_width']", "greater"]),
        ({"PROFILES": {"desk": {"user_agent": "a\nb"}}}, ["SESSIONS_PROFILES['desk']['user_agent']", "control char"]),
        (
            {"PROFILES": {"desk": {"headers": {"Authorization": "Basic s3cret"}}}},
            ["SESSIONS_PROFILES['desk']['headers']", "'Authorization' is a credential", "session.headers.set()"],
        ),
        ({"PROFILES": {"desk": {"headers": {"a b": "c"}}}}, ["SESSIONS_PROFILES['desk']['headers']", "header name"]),
    ],
)
def test_a_bad_value(settings: dict[str, Any], words: list[str]) -> None:
    """A bad value is refused with the setting's name, what is wrong with it, and what it is for."""
    message = fault(**{f"SESSIONS_{name}": value for name, value in settings.items()})
    assert [word for word in words if word not in message] == []


def test_all_faults_at_once() -> None:
    """One message tells of every fault."""
    message = fault(SESSIONS_IDLE_TIMEOUT="x", SESSIONS_MAX_USES="y", SESSIONS_STROE="z")
    assert all(name in message for name in ("SESSIONS_IDLE_TIMEOUT", "SESSIONS_MAX_USES", "SESSIONS_STROE"))


@pytest.mark.parametrize(
    "settings",
    [
        {"SESSIONS_PROFILES": {"desk": {"proxy": 5, "headers": {"Cookie": "s3cret"}}}},
        {"SESSIONS_PROFILES": {"desk": {"proxy": ["http://u:s3cret@proxy"]}}},
        {"SESSIONS_PROFILES": json.dumps({"desk": {"proxi": "http://u:s3cret@proxy"}})},
        {"SESSIONS_PROFILES": '{"desk": {"proxy": "http://u:s3cret@proxy"'},
        {"SESSIONS_PROFILES": "http://u:s3cret@proxy"},
        {"SESSIONS_PROFILES": raising},
    ],
)
def test_no_secret_is_told(settings: dict[str, Any]) -> None:
    """What is said of a bad profile quotes none of its values."""
    assert "s3cret" not in fault(**settings)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"per_week": 5}, r"SESSIONS_BUDGET: there is no limit 'per_week'; there are: per_day, per_hour"),
        ({"per_hours": 5}, r"no limit 'per_hours' \(did you mean per_hour\?\)"),
        ({"per_hour": -1}, r"SESSIONS_BUDGET\['per_hour'\]: .*greater than or equal to 0, got -1"),
        ({"per_hour": "many"}, r"SESSIONS_BUDGET\['per_hour'\]: .*integer"),
        ({"per_hour": 2**53}, r"SESSIONS_BUDGET\['per_hour'\]: .*less than or equal to"),
        ({"per_hour": 300, "per_day": 200}, r"'per_day' is less than 'per_hour', which could never be used up"),
        (300, r"SESSIONS_BUDGET: .*dictionary, got 300"),
        ("300 an hour", r"SESSIONS_BUDGET: a dict, or JSON of one, is expected"),
    ],
)
def test_bad_budgets(value: Any, message: str) -> None:
    """A budget that can't be kept is refused, the option of a pool too."""
    assert re.search(message, fault(SESSIONS_BUDGET=value))
    in_pool = message.replace("SESSIONS_BUDGET", r"SESSIONS_POOLS\['shop'\]\['budget'\]")
    assert re.search(in_pool, fault(SESSIONS_POOLS={"shop": {"budget": value}}))


def test_budgets() -> None:
    """0 is no limit, nor is what is left out; JSON is read, and an empty one of a pool replaces that of the setting."""
    assert read(SESSIONS_BUDGET={"per_hour": 0, "per_day": 7}).budget == {"per_day": 7}
    settings = read(SESSIONS_BUDGET='{"per_hour": 300}', SESSIONS_POOLS={"a": {"budget": {}}, "b": {}})
    assert settings.budget == {"per_hour": 300}
    assert [Pool.declared(name, settings).budget for name in "ab"] == [{}, {"per_hour": 300}]
