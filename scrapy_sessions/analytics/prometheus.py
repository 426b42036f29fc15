"""The counters of a crawl as a text file, for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy_sessions.analytics.model import HourCounts
from scrapy_sessions.atomic_file import atomic_write
from scrapy_sessions.exceptions import SessionConfigurationError

if TYPE_CHECKING:
    from prometheus_client import Metric

_METRICS = (
    ("requests", "requests", "Requests sent in sessions, redirects and retries included"),
    ("pages", "pages", "Pages received in sessions"),
    ("failures", "failures", "Failed downloads and logins, and suspicious or blocking responses"),
    ("logins", "logins", "Successful logins"),
    ("login_failures", "login_failures", "Failed attempts to log in"),
    ("login_seconds", "login_seconds", "Total duration of successful logins, in seconds"),
    ("blocked", "blocked", "Sessions retired because the site blocked them"),
    ("suspects", "suspects", "Responses with the verdict SUSPECT"),
    ("bytes", "received_bytes", "Bytes received in sessions"),
    ("latency", "latency_seconds", "Total time from request to response, in seconds"),
)
"""The field of the counts, the name after the prefix, and the help text."""

_PREFIX = "scrapy_sessions_"
_LABELS = ("namespace", "pool")


class PrometheusFile:
    """Writes the file *path*, and replaces it atomically.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if its folder doesn't exist or isn't writable,
    or the client library isn't installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()
        folder = self._path.parent
        fault = ""
        if self._path.is_dir():
            fault = f"{self._path} is a folder: name a file in it, for example {self._path / 'scrapy.prom'}"
        elif not folder.is_dir():
            fault = f"there is no folder {folder}: make it, or name a file elsewhere"
        elif not os.access(folder, os.W_OK | os.X_OK):
            fault = f"this user can't write to the folder {folder}: change its rights, or name a file elsewhere"
        if fault:
            raise SessionConfigurationError(f"SESSIONS_PROMETHEUS_FILE: {fault}")
        try:
            import prometheus_client  # noqa: F401, PLC0415  # an extra, needed with this setting only
        except ImportError:
            raise SessionConfigurationError(
                "SESSIONS_PROMETHEUS_FILE needs prometheus-client: pip install 'scrapy-persistent-sessions[prometheus]'"
            ) from None

    def write(self, namespace: str, sums: Mapping[str | None, HourCounts]) -> None:
        """Write *sums*, by pool, of *namespace*. Raises :exc:`OSError`, and then leaves the file as it was."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # see above

        registry = CollectorRegistry()
        registry.register(_Counts(namespace, sums))
        # Not write_to_textfile() of prometheus_client: its file has the mode of the umask, but that of the exporter,
        # another user, must read it.
        with atomic_write(self._path, mode=0o644) as file:
            file.write(generate_latest(registry))


class _Counts:
    """A collector for a registry."""

    def __init__(self, namespace: str, sums: Mapping[str | None, HourCounts]) -> None:
        self._namespace = namespace
        self._sums = sums

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  # see above

        for field, name, text in _METRICS:
            family = CounterMetricFamily(_PREFIX + name, text, labels=_LABELS)
            for pool, counts in self._sums.items():
                family.add_metric([self._namespace, pool or ""], getattr(counts, field))
            yield family
        family = CounterMetricFamily(f"{_PREFIX}responses", "Responses by status", labels=(*_LABELS, "status"))
        for pool, counts in self._sums.items():
            for status, count in sorted(counts.responses.items()):
                family.add_metric([self._namespace, pool or "", str(status)], count)
        yield family
