"""Every ``SESSIONS_*`` setting, declared once: name, type, default, help. The docs are made of it."""

# Without "from __future__ import annotations": pydantic would evaluate each annotation at the start of a crawl.

import json
import shlex
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from scrapy_sessions.durations import in_seconds
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.json_limits import MAX_COUNT
from scrapy_sessions.keys import parse_keys
from scrapy_sessions.models import BUDGET_WINDOWS, Profile, check_session_id

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

__all__ = ["DEFAULT_POOL", "PREFIX", "PoolOptions", "SessionsSettings", "is_enabled", "setting_name", "setting_of"]

PREFIX = "SESSIONS_"
_FEW = 20  # names that fit a message

DEFAULT_POOL = "default"
"""The pool that untagged requests draw from."""

_QUIET = frozenset({"encryption_key", "store", "profiles"})  # their values may hold passwords: no message quotes them


def _is_damaged(value: object) -> bool:
    """Whether the text of *value* can't be encoded."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


def _from_json(value: object) -> object:
    """Let a value of several parts come from the command line, as JSON, as Scrapy's ``getdict()`` does."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as e:
            raise ValueError(f"a dict, or JSON of one, is expected ({e.msg} at character {e.pos})") from None
    if isinstance(value, Mapping):
        return dict(value)  # Scrapy wraps dict settings in BaseSettings
    return value


def _profiles(value: object) -> object:
    """Let profiles come from a function, or from the one at an import path."""
    if isinstance(value, str) and value.replace(".", "").isidentifier():
        from scrapy.utils.misc import load_object  # noqa: PLC0415  # only if used

        try:
            value = load_object(value)
        except (ImportError, NameError, ValueError) as e:
            raise ValueError(f"a dict, JSON of one, or a function is expected ({e})") from None
    if callable(value) and not isinstance(value, Hashable):
        raise ValueError("the function must be hashable")
    return _profiles_of(value) if callable(value) else _from_json(value)


@lru_cache(maxsize=16)  # settings are read several times in a crawl, and profiles may be random
def _profiles_of(function: Callable[[], object]) -> Mapping[Any, Any]:
    fault = ""
    found: object = None
    try:
        found = function()
        if isinstance(found, Mapping):
            return dict(found)
        if isinstance(found, Iterable) and not isinstance(found, str):
            return {str(number): profile for number, profile in enumerate(found, 1)}
    except Exception as e:  # noqa: BLE001  # the project's own code; its message may contain the password of a proxy
        fault = f"the function raised {type(e).__name__}"
    raise ValueError(fault or f"the function must return a dict or a list of profiles, not {type(found).__name__}")


def _keys(value: str) -> str:
    if not parse_keys(value):
        raise ValueError("it is empty: leave it out, or name a key")
    return value


def _pool_name(value: str) -> str:
    check_session_id(value)
    if len(value) > 200:  # room for the number in the ids of its sessions
        raise ValueError("a pool's name must have at most 200 characters")
    return value


def _budget(value: dict[str, int]) -> dict[str, int]:
    for name in value:
        if name not in BUDGET_WINDOWS:
            raise ValueError(f"there is no limit {name!r}{nearest(name, BUDGET_WINDOWS)}")
    if 0 < value.get("per_day", 0) < value.get("per_hour", 0):
        raise ValueError("'per_day' is less than 'per_hour', which could never be used up: leave 'per_hour' out")
    return {name: limit for name, limit in value.items() if limit}


def _list_from_text(value: object) -> object:
    """Let a list come from the command line: ``401,403``, or JSON."""
    if isinstance(value, str):
        return json.loads(value) if value.lstrip().startswith("[") else [part for part in value.split(",") if part]
    return value


def _command(value: str) -> str:
    try:
        arguments = shlex.split(value)
    except ValueError as e:
        raise ValueError(f"the command can't be split into arguments ({e})") from None
    if not arguments:
        raise ValueError("the command is empty: leave it out")
    return value


def _credentials_source(value: str) -> str:
    kind, _, argument = value.partition(":")
    if kind not in _SOURCES:
        raise ValueError(f"{kind!r} is no source of credentials{nearest(kind, _SOURCES)}")
    if not argument and kind != "netrc":
        raise ValueError(f"'{kind}:' needs {_SOURCES[kind]}")
    try:
        argument.format_map(dict.fromkeys(_PLACEHOLDERS, ""))
    except (ValueError, LookupError, AttributeError):
        known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
        raise ValueError(f"the text after '{kind}:' has another placeholder than {known}") from None
    if kind == "command":
        _command(argument)
    return value


def _list_of_sources(value: object) -> object:
    """Let one source, or JSON of several, come from the command line: a command may contain commas."""
    if isinstance(value, str):
        return json.loads(value) if value.lstrip().startswith("[") else [value]
    return value


_SOURCES = {
    "command": "a command, as in 'command:pass show shop/{session_id}'",
    "env": "a name, as in 'env:SHOP_{session_id}'",
    "keyring": "a service, as in 'keyring:shop'",
    "netrc": "",
}
_PLACEHOLDERS = ("session_id", "namespace", "host")

Seconds = Annotated[float, BeforeValidator(in_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Budget = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=MAX_COUNT)]], BeforeValidator(_from_json), AfterValidator(_budget)
]
SessionId = Annotated[str, AfterValidator(check_session_id)]
Statuses = Annotated[list[Annotated[int, Field(ge=100, le=599)]], BeforeValidator(_list_from_text)]
Strategy = Literal["round_robin", "least_used", "random"]
PoolName = Annotated[str, AfterValidator(_pool_name)]


class PoolOptions(BaseModel):
    """One entry of ``SESSIONS_POOLS``. What is left out follows the setting of the same name.

    :param size: how many anonymous sessions (default ``SESSIONS_POOL_SIZE``)
    :param sessions: instead of ``size``: the named sessions that make up the pool
    :param profiles: names out of ``SESSIONS_PROFILES``, given to its sessions in turn
    :param sticky: whether what a callback yields stays in its response's session
    :param idle_timeout: seconds, 0: no limit
    :param max_age: seconds, 0: no limit
    :param max_uses: requests, 0: no limit
    :param strategy: whose turn it is: ``"round_robin"`` (default), ``"least_used"`` or ``"random"``
    :param delay: seconds between two requests of one of its sessions, 0: none
    :param concurrency: how many requests one of its sessions may have in flight, 0: no limit
    :param budget: how many requests one of its sessions may send, as ``SESSIONS_BUDGET``; ``{}``: no limit
    :param exclusive: whether only one process at a time uses each of its ``sessions``
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    size: Annotated[int, Field(ge=1)] | None = None
    sessions: Annotated[list[SessionId], Field(min_length=1)] | None = None
    profiles: Annotated[list[str], Field(min_length=1)] | None = None
    sticky: bool | None = None
    idle_timeout: Seconds | None = None
    max_age: Seconds | None = None
    max_uses: Count | None = None
    strategy: Strategy = "round_robin"
    delay: Seconds | None = None
    concurrency: Count | None = None
    budget: Budget | None = None
    exclusive: bool = False

    @model_validator(mode="after")
    def _either_size_or_sessions(self) -> "PoolOptions":
        if self.size is not None and self.sessions is not None:
            raise ValueError("a pool has either 'size' (anonymous sessions) or 'sessions' (named ones), not both")
        if self.exclusive and self.sessions is None:
            raise ValueError("an exclusive pool needs 'sessions': anonymous ones are made anew as needed")
        return self


class SessionsSettings(BaseModel):
    """The settings in force. Field ``idle_timeout`` is the setting ``SESSIONS_IDLE_TIMEOUT``, and so on."""

    # A value may hold a password (of a proxy, of a store): no error quotes it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    enabled: bool = Field(
        True, description="Whether sessions are on. Off: Scrapy's own cookie handling, as if the add-on weren't there."
    )
    store: Any = Field(
        "sqlite://",
        repr=False,
        description=(
            "Where sessions last: ``sqlite://`` (``.scrapy/sessions/sessions.db`` of the project), "
            "``sqlite:////abs/file.db``, ``redis://host:6379/0``, ``rediss://…`` and ``unix://…`` (needs the extra "
            "``redis``), ``memory://`` (this process only), or a "
            ":class:`~scrapy_sessions.SessionStore` or its import path."
        ),
    )
    store_fallback: Any = Field(
        None,
        repr=False,
        description=(
            "The store that a crawl uses, with a WARNING, if the server of ``SESSIONS_STORE`` can't be reached at its "
            "start: ``sqlite://``, for example. What it stores there isn't moved afterwards. Unset: the crawl stops."
        ),
    )
    encryption_key: Annotated[str, AfterValidator(_keys)] | None = Field(
        None,
        repr=False,
        description=(
            "The key that stored records are encrypted with (:doc:`/how-to/encryption`), or several, separated by "
            "commas: the first encrypts, all decrypt. Better set the environment variable ``SCRAPY_SESSIONS_KEY``, "
            "which is used where this is unset: so the key is in no file of the project. Unset: records are plain."
        ),
    )
    namespace: SessionId | None = Field(
        None,
        description=(
            "Sessions of one namespace don't see those of another. Unset: the spider's name. One name given to several "
            "spiders lets them share their sessions."
        ),
    )
    default_id: SessionId | None = Field(
        None,
        description=(
            "The named session of requests without a session key, in ``scrapy shell`` for example. Unset: they draw "
            "from the pool ``default``."
        ),
    )
    profiles: Annotated[dict[str, Profile], BeforeValidator(_profiles)] = Field(
        {},
        repr=False,
        description=(
            "Identities by name: ``user_agent``, ``language``, ``timezone``, ``viewport_width``, ``viewport_height``, "
            "``headers``, ``proxy``, ``proxy_lifetime``, ``meta``. A new session takes the next in turn, unless its "
            "request or pool says which. Or a function without arguments, or its import path, that returns them, or a "
            "list of them, whose names are then ``1``, ``2`` and so on. Empty: the project's ``USER_AGENT`` and "
            "``Accept-Language``."
        ),
    )
    pool_size: Annotated[int, Field(ge=1)] = Field(
        1, description="How many sessions a pool has whose ``size`` isn't set, the pool ``default`` for one."
    )
    pools: Annotated[dict[PoolName, PoolOptions], BeforeValidator(_from_json)] = Field(
        {},
        description=(
            "Pools by name, each a dict of ``size`` or ``sessions``, ``profiles``, ``sticky``, ``idle_timeout``, "
            "``max_age``, ``max_uses``, ``strategy``, ``delay``, ``concurrency``, ``budget``, ``exclusive``."
        ),
    )
    sticky: bool = Field(
        False,
        description=(
            "Whether what a callback yields stays in the very session its response came in, when that was drawn from a "
            "pool. Off: it stays in the pool."
        ),
    )
    config: Any = Field(
        None,
        description=(
            "A :class:`~scrapy_sessions.SessionConfig` or its import path: how to log in, what a response means for "
            "its session. A spider's ``session_config``, and a class registered for the URL, come first."
        ),
    )
    idle_timeout: Seconds = Field(
        1800.0, description="Seconds without a request or response after which a session expires. 0: never."
    )
    max_age: Seconds = Field(0.0, description="Seconds after its start at which a session expires. 0: never.")
    max_uses: Count = Field(0, description="How many requests a session may send before it expires. 0: no limit.")
    save_interval: Seconds = Field(
        1.0,
        description="Seconds after which a changed session is saved, at the latest. 0: as soon as the reactor is free.",
    )
    cleanup_interval: Seconds = Field(
        60.0,
        description="Seconds between two removals of expired sessions. 0: only at start and when the spider idles.",
    )
    history_limit: Count = Field(
        100, description="How many actions a session remembers; the oldest are dropped. 0: no limit."
    )
    history_query: bool = Field(
        False,
        description=(
            "Whether URLs in a session's history, its ``last_url`` and its ``retired_reason`` keep everything. Off: "
            "they are stored without the values of query parameters, path parameters, fragment, user and password, "
            "which may be tokens of a login. On: whoever can read the store, or an export of it, can read them. "
            "Analytics, events, stats and log lines never contain them."
        ),
    )
    cache_size: Count = Field(
        10000,
        description=(
            "How many sessions stay in memory. The least recently used ones that are saved leave it, and come back on "
            "demand. 0: no limit."
        ),
    )
    retry_times: Count = Field(
        3,
        description=(
            "How often a request is sent again after a pause that the site asks for, and where nothing proves whose "
            "fault a refusal is; to how many other accounts of its pool a closed page is sent. Apart from Scrapy's "
            "``RETRY_TIMES``. 0: nothing is sent again, the response goes to the spider."
        ),
    )
    expired_statuses: Statuses = Field(
        [401], description="Statuses of a response that mean that the session's login is lost."
    )
    suspect_statuses: Statuses = Field(
        [403],
        description="Statuses that refuse a page. Evidence decides whether it is closed, or the session is banned.",
    )
    blocked_statuses: Statuses = Field(
        [],
        description=(
            "Statuses that retire an anonymous session at once, unless it still gets another page. A status never "
            "retires a named session."
        ),
    )
    max_errors: Count = Field(
        3,
        description=(
            "After how many different pages, refused in a row while nothing proves that they are closed, an anonymous "
            "session is retired. 0: never."
        ),
    )
    credentials: Annotated[
        list[Annotated[str, AfterValidator(_credentials_source)]], BeforeValidator(_list_of_sources)
    ] = Field(
        [],
        repr=False,
        description=(
            "Where ready-made logins find the credentials of a session (:doc:`/reference/ready-made-logins`), tried in "
            "order: ``env:SHOP_{session_id}`` (an environment variable), ``netrc`` or ``netrc:PATH``, "
            "``keyring:SERVICE``, ``command:pass show shop/{session_id}``. ``{namespace}`` and ``{host}`` can be used, "
            "too."
        ),
    )
    login_attempts: Annotated[int, Field(ge=1)] = Field(
        3,
        description=(
            "How often a login is tried before it is given up, and how many logins a session may use to find out why "
            "it is refused pages. When no account of a pool is left, its requests fail with ``LoginFailed``, and the "
            "spider is closed with the reason ``session_login_failed``."
        ),
    )
    login_backoff: Seconds = Field(
        1.0, description="Seconds before a login is tried again; doubled each time, with jitter of up to a half."
    )
    login_timeout: Seconds = Field(60.0, description="Seconds that a login may take. 0: no limit.")
    on_login_failed: Literal["fail", "pause"] = Field(
        "fail",
        description=(
            "What becomes of a session's requests when its login is given up: ``fail`` with ``LoginFailed``, or "
            "``pause`` until a person has logged it in with ``scrapy sessions login`` (:ref:`login-pause`). Sessions "
            "of exclusive pools fail in any case."
        ),
    )
    notify_command: Annotated[str, AfterValidator(_command)] | None = Field(
        None,
        repr=False,
        description=(
            "A command that is run when a login is lost or fails, and when a session is retired, with the event as "
            "JSON on its standard input (:ref:`notifications`). Without a shell. Unset: none."
        ),
    )
    delay: Seconds = Field(
        0.0,
        description=(
            "Seconds between two requests of one session. Beside ``DOWNLOAD_DELAY``, which bounds what the site gets "
            "in all. 0: none."
        ),
    )
    concurrency: Count = Field(0, description="How many requests of one session may be in flight. 0: no limit.")
    budget: Budget = Field(
        {},
        description=(
            'How many requests one session may send: ``{"per_hour": 300, "per_day": 2000}``, or one of the two. They '
            "are counted over all runs and processes. At its limit a session rests, and others of its pool go on "
            "(:ref:`budget`). 0, or left out: no limit."
        ),
    )
    lease_ttl: Annotated[float, BeforeValidator(in_seconds), Field(gt=0, allow_inf_nan=False)] = Field(
        30.0,
        description=(
            "Seconds after which another process may take over a login, or the sessions of an exclusive pool, whose "
            "process has ended. A running one renews them."
        ),
    )
    claim_timeout: Seconds = Field(
        300.0,
        description=(
            "Seconds that requests wait for their session while the server of the store can't be reached, or while "
            "other processes have the sessions of an exclusive pool. After that they fail with ``StoreUnavailable`` or "
            "``PoolBusy``."
        ),
    )
    item_field: str | None = Field(
        None, description="The item field that gets the id of the session an item came from. Unset: none."
    )
    browser_contexts: Count = Field(
        8,
        description=(
            "How many sessions may be open in the browser of scrapy-playwright at once. The least recently used one "
            "without a page is closed for another. 0: no limit."
        ),
    )
    browser_idle: Seconds = Field(
        60.0, description="Seconds without a page after which a session is closed in the browser. 0: at the end only."
    )
    browser_max_storage: Count = Field(
        2**20,
        description=(
            "How many bytes of ``localStorage``, ``sessionStorage`` and IndexedDB, as JSON, a session takes from a "
            "browser. An origin whose content goes beyond keeps what was saved before, which is logged. 0: no limit."
        ),
    )
    prometheus_file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description=(
            "A file for the textfile collector of Prometheus' node exporter, ``….prom``, that the crawl's counters are "
            "written to as a whole: each crawl needs one of its own. Its folder must exist; needs the extra "
            "``prometheus``. Unset: none."
        ),
    )
    fallback_fingerprinter: Any = Field(
        "scrapy.utils.request.RequestFingerprinter",
        description=(
            "The request fingerprinter that :class:`~scrapy_sessions.fingerprint.SessionFingerprinter` wraps. The "
            "add-on puts the project's ``REQUEST_FINGERPRINTER_CLASS`` here."
        ),
    )

    @model_validator(mode="after")
    def _pools_name_known_profiles(self) -> "SessionsSettings":
        for pool, options in self.pools.items():
            for name in options.profiles or ():
                if name not in self.profiles:
                    raise ValueError(
                        f"the pool {pool!r} names the profile {name!r}, which SESSIONS_PROFILES doesn't declare"
                        + nearest(name, self.profiles)
                    )
        return self

    @model_validator(mode="after")
    def _exclusive_pools_can_be(self) -> "SessionsSettings":
        for name in self.exclusive_pools:
            if self.store_fallback is not None:
                raise ValueError(
                    f"the pool {name!r} is exclusive, which needs one store for all processes: unset "
                    "SESSIONS_STORE_FALLBACK"
                )
            for other, options in self.pools.items():
                shared = set(options.sessions or ()).intersection(self.pools[name].sessions or ())
                if other != name and shared:
                    raise ValueError(
                        f"the session {min(shared)!r} of the exclusive pool {name!r} is in the pool {other!r}, too"
                    )
        return self

    @property
    def exclusive_pools(self) -> list[str]:
        """The names of the exclusive pools."""
        return [name for name, options in self.pools.items() if options.exclusive]

    @classmethod
    def from_settings(cls, settings: Mapping[Any, Any]) -> "SessionsSettings":
        """Read the ``SESSIONS_*`` settings out of Scrapy's settings or any mapping; ``None`` means unset.

        Those at default priority are ignored: they are Scrapy's, or another plug-in's, whatever their names.

        Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`, which names every setting at fault, what
        it accepts, and the nearest name to one that doesn't exist.
        """
        given: dict[str, Any] = {}
        faults: list[str] = []
        for name in settings:
            if not isinstance(name, str) or not name.startswith(PREFIX) or _is_default(settings, name):
                continue
            field = name.removeprefix(PREFIX).lower()
            if setting_name(field) != name or field not in cls.model_fields:
                known = [setting_name(f) for f in cls.model_fields]
                faults.append(f"there is no setting {name}{nearest(name, known)}")
            elif settings[name] is not None:
                given[field] = settings[name]
        try:
            # Defaults need no validation. The first one in a process takes about 20 ms: pydantic builds the schema, and
            # searches the metadata of every installed package for plugins.
            values = cls.model_validate(given) if given else cls.model_construct()
        except ValidationError as e:
            faults += [_explain(error) for error in e.errors(include_url=False)]
        except UnicodeEncodeError:  # pydantic can't quote it
            damaged = [setting_name(field) for field, value in given.items() if _is_damaged(value)]
            faults.append(f"{', '.join(damaged)} contains text with half a character (a lone surrogate)")
        if faults:
            raise SessionConfigurationError("Bad session settings: " + "; ".join(faults))
        return values


def setting_name(field: str) -> str:
    """``"idle_timeout"`` -> ``"SESSIONS_IDLE_TIMEOUT"``."""
    return PREFIX + field.upper()


def setting_of(settings: Mapping[Any, Any], field: str) -> Any:
    """Return the setting of *field* as it is in *settings*, ``None`` if only a default is there."""
    name = setting_name(field)
    return None if _is_default(settings, name) else settings.get(name)


def is_enabled(settings: "BaseSettings") -> bool:
    """Return ``SESSIONS_ENABLED``."""
    name = setting_name("enabled")
    return _is_default(settings, name) or settings.getbool(name, True)


def _is_default(settings: Mapping[Any, Any], name: str) -> bool:
    priority_of = getattr(settings, "getpriority", None)
    return priority_of is not None and priority_of(name) == 0  # in Scrapy: "default"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return words that help with a name that isn't known: the nearest one, and all that there are if they are few."""
    names = sorted(known)
    if not names:
        return " (none is declared)"
    import difflib  # noqa: PLC0415  # for a mistake only

    guess = difflib.get_close_matches(name, names, n=1)
    if guess and len(names) > _FEW:
        return f" (did you mean {guess[0]}?)"
    return (f" (did you mean {guess[0]}?)" if guess else "") + f"; there are: {', '.join(names)}"


def _explain(error: ErrorDetails) -> str:
    path = [str(part) for part in error["loc"]]
    message = error["msg"].removeprefix("Value error, ")
    if not path:
        return message
    field, inside = path[0], path[1:]
    text = setting_name(field) + "".join(f"[{part!r}]" for part in inside) + f": {message}"
    if error["type"] == "extra_forbidden":
        model = Profile if field == "profiles" else PoolOptions
        text = text[: text.rindex(": ")] + f": unknown{nearest(inside[-1], model.model_fields)}"
    elif field not in _QUIET and isinstance(error["input"], str | int | float):
        text += f", got {error['input']!r:.60}"
    if not inside:
        text += f" ({SessionsSettings.model_fields[field].description})"
    return text
