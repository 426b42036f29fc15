"""A site for browsers: who is logged in, and what reaches it and the frames that it shows from another origin.

``python -m tests.field.apps.two_origins FOLDER`` serves it on 127.0.0.1, which is ``localhost``, too.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, make_response, redirect, request
from werkzeug.wrappers import Response

from tests.field.apps.watch import Watch, serve_wsgi

app = Flask(__name__)
users: set[str] = set()
seen: list[dict[str, Any]] = []
watch = Watch(users.clear)


@app.before_request
def note() -> None:
    seen.append({"path": request.path, "host": request.host.partition(":")[0], "headers": dict(request.headers)})


@app.route("/seen")
def show_seen() -> Response:
    return jsonify(seen)


@app.route("/login/<user>")
def login(user: str) -> Response:
    """Log in with two cookies at once."""
    watch.login(user)
    users.add(user)
    response = make_response(f"welcome, {user}")
    response.set_cookie("user", user, httponly=True)
    response.set_cookie("theme", "dark", max_age=86400)
    return response


@app.route("/login")
def form() -> str:
    return "<form>log in</form>"


@app.route("/page/<int:number>")
def page(number: int) -> str | Response:
    user = request.cookies.get("user")
    if user not in users:
        return redirect("/login")
    watch.page(user, request.path)
    frame = request.host_url.replace("127.0.0.1", "localhost")
    return f'<p id="user">{user}</p><p id="cookies">{len(request.cookies)}</p><iframe src="{frame}frame"></iframe>'


@app.route("/frame")
def frame() -> str:
    return "from another origin"


if __name__ == "__main__":
    serve_wsgi(app, watch)
