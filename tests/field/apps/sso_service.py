"""The host with the pages: Flask and Authlib. Whoever isn't logged in is sent on to the provider, on another host.

``python -m tests.field.apps.sso_service FOLDER PORT PROVIDER``
"""

from __future__ import annotations

import secrets
import sys

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session, url_for
from werkzeug.wrappers import Response

from tests.field.apps.watch import Watch, serve_wsgi

port, provider = int(sys.argv[2]), sys.argv[3]
app = Flask(__name__)
app.config.update(SECRET_KEY="for tests", SESSION_COOKIE_NAME="service")
client = OAuth(app).register(
    "provider",
    client_id="service",
    client_secret="shared",
    authorize_url=f"{provider}/o/authorize/",
    access_token_url=f"{provider}/o/token/",
    api_base_url=provider,
    client_kwargs={"scope": "read", "code_challenge_method": "S256"},
)


def log_out() -> None:
    """Change the secret that signs the sessions. The provider still knows everybody."""
    app.config["SECRET_KEY"] = secrets.token_hex()


watch = Watch(log_out)


@app.route("/login")
def login() -> Response:
    answer: Response = client.authorize_redirect(url_for("callback", _external=True))
    return answer


@app.route("/callback")
def callback() -> Response:
    token = client.authorize_access_token()
    session["user"] = client.get("/me/", token=token).json()["user"]
    watch.login(session["user"])
    return redirect("/")


@app.route("/")
def home() -> str:
    return "welcome"


@app.route("/notes/<int:number>")
def note(number: int) -> str | Response | tuple[str, int]:
    user = session.get("user")
    if user is None:
        return redirect(url_for("login"))
    if number == 13 and user == "alice":
        return "closed to alice", 403
    watch.page(user, f"/notes/{number}")
    return f'<p id="user">{user}</p>'


if __name__ == "__main__":
    serve_wsgi(app, watch, port=port)
