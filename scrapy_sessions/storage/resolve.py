"""Which store is used: the one of a path, of the setting ``SESSIONS_STORE``, or of the project."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
from pathlib import Path
from typing import Any

from scrapy.exceptions import NotConfigured
from scrapy.utils.project import data_path, get_project_settings, inside_project

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.keys import given_keys
from scrapy_sessions.storage.base import SessionStore
from scrapy_sessions.storage.encryption import Cipher
from scrapy_sessions.storage.sqlite.store import SQLiteStore

logger = logging.getLogger(__name__)

_ACCEPTED = (
    "Accepted are 'sqlite://' (the project's own file), 'sqlite:///relative/file.db', 'sqlite:////absolute/file.db', "
    "'redis://host:6379/0', 'rediss://host:6379/0' (with TLS), 'unix:///path/to/redis.sock', 'memory://' and the "
    "import path of a SessionStore, 'package.module.Class'"
)
_REDIS = ("redis", "rediss", "unix")
_SCHEMES = ("memory", "sqlite", *_REDIS)
_IMPORT_PATH = r"[^\W\d]\w*(\.[^\W\d]\w*)+"


def resolve_store(
    path: str | os.PathLike[str] | None = None, url: Any = None, *, key: str | None = None
) -> SessionStore:
    """Return the store at *path* (an SQLite file or its folder), or of the setting *url*, or of the project.

    It gets the cipher of *key*, the setting ``SESSIONS_ENCRYPTION_KEY``, or of the environment. Raises
    :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a *url* that names no store, for a *path* that is
    a URL, and for a bad key.
    """
    if path is None and url is None and inside_project():
        from scrapy_sessions.settings import SessionsSettings  # noqa: PLC0415  # it loads pydantic: only if needed

        settings = SessionsSettings.from_settings(get_project_settings())
        url, key = settings.store, key or settings.encryption_key
    store = _resolved(path, url)
    use_key(store, key)
    return store


def use_key(store: SessionStore, key: str | None) -> None:
    """Give *store* the cipher of *key*, or of the environment, unless it has one."""
    keys = given_keys(key) if store.cipher is None and store.lasting else []
    if keys:
        store.cipher = Cipher(keys)


def _resolved(path: str | os.PathLike[str] | None, url: Any) -> SessionStore:
    if path is not None:
        _check_path(os.fspath(path))
        file = Path(path)
        return SQLiteStore(file / "sessions.db" if file.is_dir() or not file.suffix else file)
    if isinstance(url, type) and issubclass(url, SessionStore):
        return url()
    if url is not None and not isinstance(url, str):
        raise SessionConfigurationError(
            f"SESSIONS_STORE must be a URL, or a SessionStore or its import path, not {type(url).__name__}"
        )
    if not url or url == "sqlite://":  # only then, because data_path() creates the project's .scrapy folder
        return SQLiteStore(_default_folder() / "sessions.db")
    return store_from_url(url)


def _check_path(path: str) -> None:
    """Refuse a URL: it would be a folder of that name, perhaps with a password in it, on this machine only."""
    scheme, colon, rest = path.partition(":")
    is_url = scheme.isalnum() and (rest.startswith("//") or scheme.lower() in _SCHEMES)
    if (colon and is_url) or path == ":memory:":
        what = "A URL isn't the path of a session store: it has '://' after its scheme"
        raise _refused(f"{what}, and SessionManager takes it as store", scheme or "memory")


def _default_folder() -> Path:
    """Return the folder in the project's ``.scrapy``, or in that of the current folder without a scrapy.cfg."""
    try:
        folder = Path(data_path("sessions"))
        in_project = inside_project()
    except NotConfigured:  # settings, but no scrapy.cfg: an egg under Scrapyd
        folder, in_project = Path(".scrapy", "sessions"), False
    if not in_project:
        logger.info("There is no scrapy.cfg here: sessions are stored in %s", folder.absolute())
    return folder


def store_from_url(url: str, *, default_path: str | os.PathLike[str] | None = None) -> SessionStore:
    """Return the store of *url*. It is not open yet.

    *default_path* is the file of ``sqlite://``. The text after ``sqlite:///`` is a path, without percent-decoding:
    relative to the current folder, or absolute if it starts with another slash. An import path names a subclass of
    :class:`SessionStore` that can be created without arguments.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` with the accepted forms.

    >>> store_from_url("memory://")
    MemoryStore()
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _from_import_path(url)
    scheme = scheme.lower()
    if scheme == "memory" and not rest:
        from scrapy_sessions.storage.memory import MemoryStore  # noqa: PLC0415  # loaded only if used

        return MemoryStore()
    if scheme == "sqlite":
        return SQLiteStore(_sqlite_path(rest, default_path))
    if scheme in _REDIS:
        from scrapy_sessions.storage.redis.store import RedisStore  # noqa: PLC0415  # loaded only if used

        return RedisStore(f"{scheme}://{rest}")
    # Without the rest of the URL, which may contain a password.
    raise _refused(f"The session store's URL has the scheme {scheme!r:.40}, which is unknown", scheme)


def _refused(what: str, word: str = "") -> SessionConfigurationError:
    import difflib  # noqa: PLC0415  # for a mistake only

    nearest = difflib.get_close_matches(word.lower(), _SCHEMES, n=1)
    hint = f" Did you mean '{nearest[0]}://'?" if nearest else ""
    return SessionConfigurationError(f"{what}.{hint} {_ACCEPTED}")


def _sqlite_path(rest: str, default_path: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if not rest:
        if default_path is None:
            raise _refused("'sqlite://' means the file of a Scrapy project, and there is none here: name the file")
        return default_path
    path = rest[1:]
    if not rest.startswith("/"):
        raise _refused("In the session store's URL a host follows 'sqlite://', but a file has no host")
    if path in ("", "/"):
        raise _refused("After 'sqlite:///' the session store's URL names no file")
    if path == ":memory:":
        raise _refused("The session store's URL is 'sqlite:///:memory:': write 'memory://' instead")
    return path


def _from_import_path(path: str) -> SessionStore:
    if not re.fullmatch(_IMPORT_PATH, path):  # not quoted, because it may be a mistyped URL with a password
        raise _refused("The session store is neither a URL nor an import path", path.partition(":")[0])
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise _refused(f"The session store {path!r} can't be imported ({type(error).__name__}: {error})") from error
    if not (isinstance(found, type) and issubclass(found, SessionStore)):
        raise _refused(f"The session store {path!r} isn't a subclass of SessionStore")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise _refused(f"The session store {path!r} lacks the methods {missing}")
    try:
        return found()
    except TypeError as error:
        raise _refused(f"The session store {path!r} can't be created without arguments ({error})") from error
