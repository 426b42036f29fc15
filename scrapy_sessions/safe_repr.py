"""The ``repr()`` of classes that contain cookies, headers, proxies or data: it ends up in logs and tracebacks."""

from __future__ import annotations


def safe_repr(instance: object, *names: str) -> str:
    """Return the ``repr()`` of *instance* with the attributes *names* only."""
    shown = ", ".join(f"{name}={getattr(instance, name)!r}" for name in names)
    return f"{type(instance).__name__}({shown})"
