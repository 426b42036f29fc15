"""Which store is meant: by a path, by the setting ``SESSIONS_STORE``, or by the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scrapy.utils.project import data_path, get_project_settings, inside_project

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import store_from_url
from scrapy_sessions.storage.base import SessionStore

__all__ = ["resolve_store"]


def resolve_store(path: str | os.PathLike[str] | None = None, url: Any = None) -> SessionStore:
    """Return the store at *path* (an SQLite file or its folder), or of the setting *url*, or the project's.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a URL that can't be one.
    """
    if path is not None:
        file = Path(path)
        if file.is_dir() or not file.suffix:
            file /= "sessions.db"
        return store_from_url("sqlite://", default_path=file)
    if url is None and inside_project():
        url = SessionsSettings.from_settings(get_project_settings()).store
    if isinstance(url, type) and issubclass(url, SessionStore):
        return url()
    if url is not None and not isinstance(url, str):
        raise SessionConfigurationError(
            f"SESSIONS_STORE must be a URL, or a SessionStore or its import path, not {type(url).__name__}"
        )
    if not url or url == "sqlite://":  # only then: data_path() makes the project's .scrapy folder
        return store_from_url("sqlite://", default_path=Path(data_path("sessions")) / "sessions.db")
    return store_from_url(url)
