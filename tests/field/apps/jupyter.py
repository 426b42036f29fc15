"""Jupyter Server, which answers 403 to strangers and demands a token against cross-site requests.

Its login form asks for a password only, so each user has one of their own.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

from jupyter_server.auth.identity import PasswordIdentityProvider, User
from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from tests.field.apps.watch import Watch

PASSWORDS = {"wonderland": "alice", "builder": "bob"}


class OnePasswordPerUser(PasswordIdentityProvider):  # type: ignore[misc]  # traitlets
    def process_login_form(self, handler: Any) -> User | None:
        user = PASSWORDS.get(handler.get_argument("password", default=""))
        watch.login(user or "nobody")
        return None if user is None else User(username=user)


def log_out() -> None:
    """Change the secret that signs the cookies, as a restart of the server does."""
    server.web_app.settings["cookie_secret"] = secrets.token_bytes()


def count(handler: Any) -> None:
    """Called by Tornado after each response."""
    user = getattr(handler, "_jupyter_current_user", None)
    if isinstance(user, User) and handler.get_status() < 300 and handler.request.path.startswith("/api/"):
        watch.page(user.username, handler.request.uri)


watch = Watch(log_out)
server: ServerApp

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "notes").mkdir()
    for number in range(1, 21):
        (folder / "notes" / f"{number}.txt").write_text(f"note {number}")
    config = Config()
    config.ServerApp.update(
        allow_root=True,
        identity_provider_class=OnePasswordPerUser,
        ip="127.0.0.1",
        log_level="ERROR",
        open_browser=False,
        port=0,
        root_dir=str(folder / "notes"),
        tornado_settings={"log_function": count},
    )
    config.PasswordIdentityProvider.hashed_password = "unused: process_login_form() is overridden"
    server = ServerApp.instance(config=config)
    server.initialize([])
    watch.announce(f"http://127.0.0.1:{server.port}")
    server.start()
