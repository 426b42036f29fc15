"""Flask-Login with "remember me": a dated cookie logs in again whoever has lost the session cookie."""

from __future__ import annotations

import secrets
import time

from flask import Flask, redirect, render_template_string, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from werkzeug.wrappers import Response

from tests.field.apps.watch import Watch, serve_wsgi

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
FORM = '<form method="post"><input name="user"><input name="password" type="password"></form>'
PAGE = '<p id="user">{{ current_user.name }}</p>'


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """Its id in the cookies is a token that can be changed: what Flask-Login recommends for ending all logins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = secrets.token_hex()

    def get_id(self) -> str:
        return self.token


app = Flask(__name__)
app.config.update(SECRET_KEY="for tests", REMEMBER_COOKIE_DURATION=86400)
login_manager = LoginManager(app)
login_manager.login_view = "login"
users = {name: User(name) for name in PASSWORDS}
forgotten_at = 0.0


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(token: str) -> User | None:
    return next((user for user in users.values() if user.token == token), None)


def log_out() -> None:
    users.update({name: User(name) for name in PASSWORDS})


def forget() -> None:
    """End the sessions; the "remember me" cookies still hold."""
    global forgotten_at  # noqa: PLW0603
    forgotten_at = time.time()


watch = Watch(log_out, forget)


@app.before_request
def age() -> None:
    if session.get("born", 0) < forgotten_at:
        session.clear()


@app.after_request
def date(response: Response) -> Response:
    if current_user.is_authenticated:
        session.setdefault("born", time.time())
    return response


@app.route("/login", methods=["GET", "POST"])
def login() -> str | Response:
    if request.method == "GET":
        return FORM
    name = request.form["user"]
    watch.login(name)
    if PASSWORDS[name] != request.form["password"]:
        return FORM
    login_user(users[name], remember=True)
    return redirect("/")


@app.route("/")
def home() -> str:
    return render_template_string("{% if current_user.is_authenticated %}" + PAGE + "{% endif %}welcome")


@app.route("/notes/<int:number>")
@login_required  # type: ignore[untyped-decorator]
def note(number: int) -> str:
    watch.page(current_user.name, request.full_path.rstrip("?"))
    return render_template_string(PAGE)


if __name__ == "__main__":
    serve_wsgi(app, watch)
