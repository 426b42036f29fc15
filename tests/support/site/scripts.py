"""Pages that need a browser, under ``/browser/``.

=============  =========================================================================================================
``login``      logs ``user`` in by a script: it proves to be one to ``token``, and leaves the name in each storage
``token``      gives an ``HttpOnly`` cookie to who sends the name and its proof
``home``       ``#cookie`` names the user whose cookie came (401: nobody); ``#local``, ``#tab`` and ``#database`` who is
               in which storage
``place``      ``#zone`` and ``#language`` of the browser; ``Accept-Language`` of the ``#navigation`` and an ``#xhr``
``late``       a script sets the cookie ``late`` after a while
``frame``      has an ``iframe``: the page ``to``
``mixed``      loads ``/loaded/<how>`` from its own origin and from the origin ``other``: by an ``img``, an ``xhr``, a
               ``worker`` and the ``frame`` of a frame, and by redirects ``there``, ``back`` and ``here``
``logout``     clears the cookie and all storages by a script, and goes ``home`` at once
=============  =========================================================================================================

The title of each is "ready" when its script has ended.
"""

from __future__ import annotations

import json
import uuid
from html import escape

from twisted.web.http import Request

from tests.support.site.parts import Reply, argument, as_json
from tests.support.site.records import cookie_pairs, header

__all__ = ["ScriptPages"]

_LIBRARY = """
const opened = () => new Promise((done, fail) => {
    const request = indexedDB.open("shop", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("users", {keyPath: "id"});
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
});
const users = async (mode, work) => {
    const database = await opened();
    const value = await new Promise((done, fail) => {
        const transaction = database.transaction("users", mode);
        const request = work(transaction.objectStore("users"));
        transaction.oncomplete = () => done(request.result);
        transaction.onerror = () => fail(transaction.error);
    });
    database.close();
    return value;
};
const show = (id, value) => { document.getElementById(id).textContent = value ?? "nobody"; };
const ready = () => { document.title = "ready"; };
"""

_LOGIN = """
(async () => {
    const user = %s;
    const body = JSON.stringify({user, proof: [...user].reverse().join("")});
    await fetch("/browser/token", {method: "POST", body});
    localStorage.setItem("user", user);
    sessionStorage.setItem("user", user);
    await users("readwrite", store => store.put({id: "me", user}));
    location.href = "/browser/home";
})();
"""

_HOME = """
show("local", localStorage.getItem("user"));
show("tab", sessionStorage.getItem("user"));
users("readonly", store => store.get("me")).then(found => show("database", found?.user)).then(ready);
"""

_PLACE = """
show("zone", Intl.DateTimeFormat().resolvedOptions().timeZone);
show("language", navigator.language);
fetch("/whoami").then(answer => answer.json()).then(who => show("xhr", who.headers["accept-language"])).then(ready);
"""

_LATE = """
setTimeout(() => { document.cookie = "late=1; Path=/"; ready(); }, 150);
"""

_MIXED = """
const {own, other} = %s;
const loaded = (origin, how) => `${origin}/loaded/${how}?header=Access-Control-Allow-Origin:+*`;
const redirect = (origin, to) =>
    `${origin}/redirect?to=${encodeURIComponent(to)}&header=Access-Control-Allow-Origin:+*`;
const image = (url) => new Promise(done => {
    const added = document.createElement("img");
    added.onload = added.onerror = done;
    added.src = url;
});
const frame = (url) => new Promise(done => {
    const added = document.createElement("iframe");
    added.onload = done;
    added.src = url;
    document.body.append(added);
});
const work = (url) => new Promise(done => {
    const worker = new Worker(URL.createObjectURL(new Blob([`fetch("${url}").then(() => postMessage(0))`])));
    worker.onmessage = done;
});
Promise.all([
    ...[own, other].flatMap(origin => [
        image(loaded(origin, "img")), fetch(loaded(origin, "xhr")), work(loaded(origin, "worker")),
        frame(`${origin}/browser/frame?to=${encodeURIComponent(loaded(origin === own ? other : own, "frame"))}`),
    ]),
    image(redirect(own, loaded(other, "there"))), fetch(redirect(own, loaded(other, "there"))),
    image(redirect(own, redirect(other, loaded(own, "back")))), frame(redirect(own, loaded(other, "there"))),
    image(redirect(own, loaded(own, "here"))),
]).then(ready);
"""

_LOGOUT = """
localStorage.clear();
sessionStorage.clear();
indexedDB.deleteDatabase("shop").onsuccess = () => { location.href = "/browser/home"; };
"""


class ScriptPages:
    """The pages, and who is logged in."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def answer(self, request: Request) -> Reply:
        """Answer *request*, whose path begins with ``/browser/``."""
        user = self._users.get(dict(cookie_pairs(request)).get("token", ""), "nobody")
        match request.path.rpartition(b"/")[2]:
            case b"login":
                return _page(_LOGIN % json.dumps(argument(request, "user") or "alice"))
            case b"token":
                return self._token(request)
            case b"home":
                reply = _page(_HOME, cookie=user, local="", tab="", database="")
                reply.status = 401 if user == "nobody" else 200
                return reply
            case b"place":
                return _page(_PLACE, zone="", language="", navigation=header(request, "Accept-Language"), xhr="")
            case b"late":
                return _page(_LATE)
            case b"frame":
                return _page("ready();", frame=f'<iframe src="{escape(argument(request, "to") or "")}"></iframe>')
            case b"mixed":
                own = f"http://{header(request, 'Host')}"
                return _page(_MIXED % json.dumps({"own": own, "other": argument(request, "other")}))
            case b"logout":
                reply = _page(_LOGOUT)
                reply.headers.append(("Set-Cookie", b"token=; Path=/; Max-Age=0"))
                return reply
        return Reply(b"No such page", "text/plain", 404)

    def _token(self, request: Request) -> Reply:
        assert request.content is not None
        request.content.seek(0)
        sent = json.loads(request.content.read())
        if sent["proof"] != sent["user"][::-1]:
            return Reply(b"Not by a script", "text/plain", 403)
        token = uuid.uuid4().hex
        self._users[token] = sent["user"]
        reply = as_json(None)
        reply.headers.append(("Set-Cookie", f"token={token}; Path=/; HttpOnly; Max-Age=86400".encode()))
        return reply


def _page(script: str, **texts: str) -> Reply:
    shown = "".join(f'<p id="{name}">{text if name == "frame" else escape(text)}</p>' for name, text in texts.items())
    return Reply(f"<!doctype html><body>{shown}<script>{_LIBRARY}{script}</script></body>".encode())
