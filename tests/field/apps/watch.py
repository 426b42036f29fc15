"""What an application counts, and the commands that it takes as JSON lines on its standard input."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

__all__ = ["Watch", "serve_wsgi"]


class Watch:
    """Counts logins and pages by user, and logs everybody out when told to.

    :param log_out: ends all logins of the application, on its side only
    :param forget: ends what the application can restore without a login, if there is such a thing
    """

    def __init__(self, log_out: Callable[[], Any], forget: Callable[[], Any] | None = None) -> None:
        self._actions = {"log_out": log_out, "forget": forget}
        self._lock = threading.Lock()
        self._logins: Counter[str] = Counter()
        self._pages: list[tuple[str, str]] = []
        self._left: Counter[str] = Counter()
        self._action: Callable[[], Any] | None = None

    def login(self, user: str) -> None:
        """*user* was sent in a login form, whether accepted or not."""
        with self._lock:
            self._logins[user] += 1

    def page(self, user: str, path: str) -> None:
        """*user*, who is logged in, gets the page *path*."""
        with self._lock:
            self._pages.append((user, path))
            self._left[user] -= 1
            action = None
            if not +self._left:  # none is positive
                action, self._action = self._action, None
        if action is not None:
            action()

    def announce(self, url: str) -> None:
        """Print *url*, and obey the standard input from now on, in a thread."""
        print(url, flush=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            print(json.dumps(self._obey(json.loads(line))), flush=True)
        os._exit(0)

    def _obey(self, command: dict[str, Any]) -> Any:
        """Log out once each user has got so many more pages: ``{"do": "log_out", "after": {"alice": 3, "bob": 3}}``.

        ``{"do": "counts"}`` returns the counts, and begins anew.
        """
        if command["do"] == "counts":
            with self._lock:
                counts = {"logins": dict(self._logins), "pages": self._pages}
                self._logins, self._pages = Counter(), []
            return counts
        action = self._actions[command["do"]]
        assert action is not None
        with self._lock:
            self._action, self._left = action if command["after"] else None, Counter(command["after"])
        if not command["after"]:
            action()
        return None


def serve_wsgi(application: Any, watch: Watch, port: int = 0) -> None:
    """Serve a WSGI application with threads; port 0 is a free one."""
    from werkzeug.serving import make_server  # noqa: PLC0415  # Jupyter Server needs no WSGI

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", port, application, threaded=True)
    watch.announce(f"http://127.0.0.1:{server.port}")
    server.serve_forever()
