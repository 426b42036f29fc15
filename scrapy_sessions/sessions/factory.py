"""Creating live sessions: with their limits, pool and identity."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count

from scrapy_sessions.models import Metrics, PersistentSession, Profile
from scrapy_sessions.pools.pool import Pool
from scrapy_sessions.sessions.proxy_token import fits, new_rotation, with_token
from scrapy_sessions.sessions.runtime import SessionOwner, SessionRuntime
from scrapy_sessions.settings import DEFAULT_POOL, SessionsSettings

logger = logging.getLogger(__name__)


class SessionFactory:
    """Creates live sessions, new ones and those of stored records. The caller adds them to the cache.

    :param namespace: the namespace of new sessions
    :param default_profile: the identity of new sessions without a profile, and the values that profiles leave out
    :param owner: the owner of the sessions
    :param enforce_limits: whether the limits of *settings* hold for stored sessions, instead of those of their records
    """

    def __init__(
        self,
        settings: SessionsSettings,
        namespace: str,
        default_profile: Profile,
        owner: SessionOwner,
        clock: Callable[[], float],
        *,
        enforce_limits: bool = False,
    ) -> None:
        self._settings = settings
        self._enforce_limits = enforce_limits
        self._namespace = namespace
        self._default_profile = default_profile
        self._owner = owner
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        self._turns = count()
        self._profile_names = list(settings.profiles)
        self._drift_warned = False

    def pool(self, name: str) -> Pool:
        """Return the pool *name*. Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`."""
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool.declared(name, self._settings)
        return pool

    def declared(self, name: str | None) -> Pool | None:
        """Return the pool *name*; ``None`` if it isn't declared any more, or without a name."""
        if name is None or (name != DEFAULT_POOL and name not in self._settings.pools):
            return None
        return self.pool(name)

    def pool_with(self, session_id: str) -> str | None:
        """Return the name of the pool that has, or will have, the session *session_id*."""
        pool, _, number = session_id.rpartition("#")
        for name, options in {DEFAULT_POOL: None, **self._settings.pools}.items():
            named = None if options is None else options.sessions
            if session_id in (named or ()) or (named is None and name == pool and number.isdecimal()):
                return name
        return None

    def create(
        self, session_id: str, pool: str | None, profile: str | None, *, transient: bool = False
    ) -> SessionRuntime:
        """Return a new session, with *pool* and *profile* if given."""
        name = profile if profile is not None else self._next_profile(session_id, pool)
        declared = self.declared(pool)
        policy = declared or self._settings
        identity = self._identity(name)
        session = SessionRuntime(
            session_id,
            namespace=self._namespace,
            pool=pool,
            profile_name=name,
            profile=with_token(identity),
            idle_timeout=policy.idle_timeout,
            max_age=policy.max_age,
            max_uses=policy.max_uses,
            budget=policy.budget,
            delay=None if declared is None else declared.delay,
            concurrency=policy.concurrency,
            history_limit=self._settings.history_limit,
            history_query=self._settings.history_query,
            transient=transient,
            owner=self._owner,
            clock=self._clock,
        )
        session.keeps_limits = self._enforce_limits
        session.rotate_proxy(new_rotation(identity, session.start_time))
        # That of a pool of one need not, unless it replaces one that was refused.
        is_first = declared is not None and session.id == f"{declared.name}#1"
        session.first_request_alone = (
            declared is not None and not declared.named and (declared.size > 1 or not is_first)
        )
        return session

    def restore(self, record: PersistentSession) -> SessionRuntime:
        """Return the session of *record*, with the limits of :meth:`in_force` and the pace of the settings."""
        record = self.in_force(record)
        declared = self.declared(record.pool)
        session = SessionRuntime(
            record.session_id,
            delay=None if declared is None else declared.delay,
            concurrency=(declared or self._settings).concurrency,
            history_limit=self._settings.history_limit,
            history_query=self._settings.history_query,
            owner=self._owner,
            clock=self._clock,
        )
        session.restore(record)
        session.keeps_limits = self._enforce_limits
        session.dirty = False
        self._warn_of_drift(session)
        return session

    def in_force(self, record: PersistentSession) -> PersistentSession:
        """Return *record* with the limits that hold for it here."""
        if not self._enforce_limits:
            return record
        policy = self.declared(record.pool) or self._settings
        limits = {name: getattr(policy, name) for name in ("idle_timeout", "max_age", "max_uses", "budget")}
        if all(getattr(record, name) == value for name, value in limits.items()):
            return record
        return record.model_copy(update=limits)

    def fork(self, record: PersistentSession, new_id: str) -> SessionRuntime:
        """Return a new session *new_id* with the identity, state and history of *record*, of no pool.

        What it has used of its budget counts on: the account is the same.
        """
        now = self._clock()
        identity = {"session_id": new_id, "pool": None, "start_time": now, "last_activity": now}
        fresh = {"revision": 0, "pages_visited": 0, "metrics": Metrics(), "retired_reason": None}
        if record.status == "retired":
            fresh["status"] = "new"
        return self.restore(record.model_copy(update={**identity, **fresh}))

    def _next_profile(self, session_id: str, pool: str | None) -> str | None:
        if pool is not None:
            return self.pool(pool).profile_of(session_id)
        names = self._profile_names
        return names[next(self._turns) % len(names)] if names else None

    def _identity(self, name: str | None) -> Profile:
        """Return the identity of a new session with the profile *name*. The project's values complete it."""
        default = self._default_profile
        if name is None:
            return default
        profile = self._settings.profiles[name]
        agent, language = profile.user_agent or default.user_agent, profile.language or default.language
        return profile.model_copy(update={"user_agent": agent, "language": language})

    def _warn_of_drift(self, session: SessionRuntime) -> None:
        name = session.profile_name
        if self._drift_warned or (name is not None and name not in self._settings.profiles):
            return
        if session.user_agent is session.language is session.proxy is None and not session.meta:
            return  # created by a manager without a project
        profile = self._identity(name)
        lifetime = 0.0 if session.rotation is None else session.rotation.stored["lifetime"]
        created_with = (session.user_agent, session.language, session.meta, lifetime)
        current = (profile.user_agent, profile.language, profile.meta, profile.proxy_lifetime)
        if created_with != current or not fits(session.proxy, profile.proxy):
            self._drift_warned = True
            source = "the project's USER_AGENT and Accept-Language" if name is None else f"the profile {name!r}"
            logger.warning(
                "The session %r keeps the identity that it was created with, but %s has changed: delete sessions to "
                "let new ones take the new identity",
                session.id,
                source,
            )
