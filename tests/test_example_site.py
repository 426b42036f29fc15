"""The example project's shop, asked by a plain HTTP client, and its demo's way of failing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.docs_pages import demo
from tests.support.waiting import HANG, wait_until

PROJECT = Path(__file__).parents[1] / "example_project"


@dataclass
class Page:
    """An answer of the shop."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        assert found, "this page has no form"
        return found[1]


@dataclass
class Client:
    """A browser of the simplest kind: it keeps the shop's cookie, and follows no redirect by itself."""

    address: str
    agent: str = "one"
    language: str = "en"
    sid: str | None = None
    worker: str = ""
    set_cookies: list[str] = field(default_factory=list)

    def get(self, path: str) -> Page:
        return self._ask("GET", path, None)

    def post(self, path: str, **form: str) -> Page:
        return self._ask("POST", path, urlencode(form))

    def log_in(self, user: str, password: str) -> Page:
        return self.post("/login", csrf=self.get("/login").csrf, user=user, password=password)

    def _ask(self, method: str, path: str, body: str | None) -> Page:
        headers = {"User-Agent": self.agent, "Accept-Language": self.language, "X-Worker": self.worker}
        if self.sid:
            headers["Cookie"] = f"sid={self.sid}"
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with closing(HTTPConnection(self.address, timeout=HANG)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            page = Page(response.status, dict(response.getheaders()), response.read().decode())
        cookie = page.headers.get("Set-Cookie")
        if cookie:
            self.set_cookies.append(cookie)
            self.sid = cookie.partition(";")[0].removeprefix("sid=")
        return page


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Host and port of a running shop."""
    with subprocess.Popen(
        [sys.executable, "-m", "shop_site", "--port", "0", "--stop-at-eof"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("http://")
        process.stdin.close()
        assert process.wait(timeout=HANG) == 0


@pytest.fixture
def client(address: str) -> Client:
    """A visitor who has never been to the shop."""
    return Client(address)


@pytest.fixture
def alice(client: Client) -> Client:
    """A visitor who has logged in as alice."""
    assert client.log_in("alice", "wonderland").status == 303
    return client


def stats(client: Client) -> dict[str, int]:
    counts: dict[str, int] = json.loads(client.get("/stats").text)
    return counts


@pytest.mark.parametrize("path", ["/account", "/account/orders", "/account/orders/1001", "/account/profile"])
def test_account_pages_lead_strangers_to_the_login(client: Client, path: str) -> None:
    """Without a login each account page redirects to the form, which knows the way back."""
    page = client.get(path)
    assert (page.status, page.headers["Location"]) == (302, f"/login?next={path}")
    assert f'action="/login?next={path.replace("/", "%2F")}"' in client.get(page.headers["Location"]).text


def test_a_login_leads_back_to_the_page_asked_for(client: Client) -> None:
    """After the login the shop redirects to ``next``."""
    token = client.get("/login?next=/account/orders").csrf
    page = client.post("/login?next=/account/orders", csrf=token, user="bob", password="builder")
    assert (page.status, page.headers["Location"]) == (303, "/account/orders")


def test_a_login_leads_nowhere_else(client: Client) -> None:
    """A ``next`` that is not an account page of the shop is not followed."""
    token = client.get("/login").csrf
    page = client.post("/login?next=//evil.test/account", csrf=token, user="bob", password="builder")
    assert page.headers["Location"] == "/account"


def test_the_cookie_is_for_http_only(client: Client) -> None:
    """The session cookie is HttpOnly, has no expiry, and is set once."""
    client.get("/")
    client.get("/catalogue")
    [cookie] = client.set_cookies
    assert re.fullmatch(r"sid=[\w-]{20,}; Path=/; HttpOnly; SameSite=Lax", cookie)


def test_a_login_changes_the_cookie(client: Client) -> None:
    """The cookie from before the login is worth nothing after it."""
    client.get("/")
    before = client.sid
    client.log_in("alice", "wonderland")
    assert client.get("/account").status == 200
    client.sid = before
    assert client.get("/account").status == 302


@pytest.mark.parametrize("token", ["", "forged"])
def test_a_form_needs_its_token(client: Client, token: str) -> None:
    """A login with the right password but without the session's token is refused."""
    client.get("/login")
    assert client.post("/login", csrf=token, user="alice", password="wonderland").status == 403
    assert client.get("/account").status == 302


def test_a_token_of_another_session_is_worth_nothing(address: str, client: Client) -> None:
    """Tokens are checked per session."""
    token = Client(address).get("/login").csrf
    client.get("/login")
    assert client.post("/login", csrf=token, user="alice", password="wonderland").status == 403


@pytest.mark.parametrize(("user", "password"), [("alice", "builder"), ("alice", ""), ("carol", "wonderland")])
def test_a_wrong_password_shows_the_form_again(client: Client, user: str, password: str) -> None:
    """A failed login is a page with the form and an error, and is counted."""
    before = stats(client)
    page = client.log_in(user, password)
    assert page.status == 200
    assert 'class="error"' in page.text
    assert page.csrf
    after = stats(client)
    assert (after["failed_logins"] - before["failed_logins"], after["logins"] - before["logins"]) == (1, 0)


def test_pages_differ_by_user(address: str, alice: Client) -> None:
    """alice and bob see their own orders, and not each other's."""
    bob = Client(address)
    bob.log_in("bob", "builder")
    assert "1001" in alice.get("/account/orders").text
    assert "2001" not in alice.get("/account/orders").text
    assert "2001" in bob.get("/account/orders").text
    assert alice.get("/account/orders/1001").status == 200
    assert bob.get("/account/orders/1001").status == 404


@pytest.mark.parametrize(
    ("accept", "lang", "total"),
    [
        ("de-DE,de;q=0.9", "de", "59,90 €"),
        ("en;q=0.5,de", "de", "59,90 €"),
        ("fr, en;q=0.8", "en", "€59.90"),
        ("fr", "en", "€59.90"),
        ("de;q=nonsense,", "en", "€59.90"),
    ],
)
def test_pages_differ_by_language(alice: Client, accept: str, lang: str, total: str) -> None:
    """``Accept-Language`` chooses English or German, with its way to write an amount."""
    alice.language = accept
    page = alice.get("/account/orders/1002")
    assert (page.headers["Content-Language"], f'<html lang="{lang}">' in page.text) == (lang, True)
    assert f'<dd class="total">{total}</dd>' in page.text


def test_a_second_user_agent_is_kept_out(alice: Client) -> None:
    """The profile is closed to another agent than the session's first, counted, and open to the first again."""
    before = stats(alice)["mixed_identities"]
    assert alice.get("/account/profile").status == 200
    alice.agent = "two"
    assert alice.get("/account/profile").status == 403
    assert alice.get("/account").status == 200
    alice.agent = "one"
    assert alice.get("/account/profile").status == 200
    assert stats(alice)["mixed_identities"] - before == 2


def test_the_agent_is_remembered_from_before_the_login(client: Client) -> None:
    """Logging in with another agent than the first doesn't make that one the session's."""
    client.get("/")
    client.agent = "two"
    client.log_in("alice", "wonderland")
    assert client.get("/account/profile").status == 403


def test_a_logout_ends_the_session(alice: Client) -> None:
    """After the logout the cookie is taken back, and was worth nothing even if kept."""
    sid = alice.sid
    page = alice.get("/logout")
    assert (page.status, "Max-Age=0" in alice.set_cookies[-1]) == (303, True)
    alice.sid = sid
    assert alice.get("/account").status == 302


def test_the_catalogue_is_linked_page_by_page(client: Client) -> None:
    """Following "next" shows every product once, and there is no page beyond the last."""
    products, path = [], "/catalogue"
    while path:
        page = client.get(path)
        products += re.findall(r'"(/product/\d+)" class="product"', page.text)
        following = re.search(r'href="([^"]+)" rel="next"', page.text)
        path = following[1] if following else ""
    assert products == [f"/product/{number}" for number in range(1, 13)]
    assert {client.get(product).status for product in products} == {200}
    assert client.get("/catalogue?page=5").status == 404
    assert client.get("/product/13").status == 404


def test_the_price_lists_are_for_customers(client: Client) -> None:
    """A buyer finds as many weeks as asked for, up to the last one there is; a stranger is sent to the login."""
    assert client.get("/prices?weeks=3").headers["Location"] == "/login?next=/prices%3Fweeks%3D3"
    client.log_in("buyer3", "purchase3")
    weeks = re.findall(r'"(/prices/\d+)" class="week"', client.get("/prices?weeks=3").text)
    assert weeks == ["/prices/1", "/prices/2", "/prices/3"]
    assert ">€13.80<" in client.get("/prices/2").text  # the tea pot, at 12.90 in the catalogue
    assert client.get("/prices/10001").status == 404


def test_the_shop_logs_which_worker_used_which_account(client: Client) -> None:
    """An entry has the worker, the user and the times; who isn't logged in, or is no worker, isn't logged."""
    client.worker = "7"
    client.get("/catalogue")
    client.log_in("buyer4", "purchase4")
    client.get("/prices/9")
    client.worker = ""
    client.get("/prices/8")
    login, prices = [use for use in json.loads(client.get("/uses").text) if use["worker"] == "7"]
    assert [(use["user"], use["path"]) for use in (login, prices)] == [("buyer4", "/login"), ("buyer4", "/prices/9")]
    assert login["time"] <= login["answered"] <= prices["time"] <= prices["answered"]


def test_the_shop_holds_price_lists_on_request(address: str, client: Client) -> None:
    """After ``/admin/hold`` it answers so many price lists, and the others when it is told to; other pages at once."""
    client.worker = "8"
    client.log_in("buyer5", "purchase5")
    client.post("/admin/hold?after=1")
    assert client.get("/prices/1").status == 200
    with ThreadPoolExecutor() as threads:
        held = threads.submit(client.get, "/prices/2")
        wait_until(lambda: '"/prices/2"' in Client(address).get("/uses").text)
        assert Client(address).get("/catalogue").status == 200
        assert not held.done()
        Client(address).post("/admin/hold")
        assert held.result(HANG).status == 200


def test_a_basket_belongs_to_its_session(address: str, client: Client) -> None:
    """What one visitor puts into the basket is there, counted, for this visitor only."""
    for product in ("2", "2", "8"):
        page = client.post("/basket/add", csrf=client.get(f"/product/{product}").csrf, product=product)
        assert (page.status, page.headers["Location"]) == (303, "/basket")
    basket = client.get("/basket").text
    assert "Basket (3)" in basket
    assert '<dd class="total">€28.90</dd>' in basket
    assert 'href="/product/2"' not in Client(address).get("/basket").text


def test_a_basket_survives_the_login(client: Client) -> None:
    """Logging in keeps what lay in the basket."""
    client.post("/basket/add", csrf=client.get("/product/3").csrf, product="3")
    client.log_in("bob", "builder")
    assert "Top hat" in client.get("/basket").text


@pytest.mark.parametrize("product", ["0", "13", "x", ""])
def test_only_products_go_into_a_basket(client: Client, product: str) -> None:
    """What the shop doesn't sell is not found."""
    token = client.get("/product/1").csrf
    assert client.post("/basket/add", csrf=token, product=product).status == 404


def test_robots_are_kept_from_the_logout(client: Client) -> None:
    """robots.txt forbids the link that would end a session, and sets no cookie."""
    page = client.get("/robots.txt")
    assert "Disallow: /logout\n" in page.text
    assert client.set_cookies == []


def test_the_stats_count(address: str, client: Client) -> None:
    """Requests, sessions and logins are counted; reading the stats is not."""
    before = stats(client)
    client.log_in("alice", "wonderland")
    Client(address).get("/")
    after = stats(client)
    grown = {name: after[name] - before[name] for name in after}
    others = {"failed_logins": 0, "mixed_identities": 0, "expired": 0, "refused": 0}
    assert grown == {"requests": 3, "sessions": 2, "logins": 1, **others}


def test_the_shop_logs_a_user_out_on_request(address: str, alice: Client) -> None:
    """``/admin/expire`` ends the login of one user, once, after so many pages more; the basket and cookie stay."""
    bob = Client(address)
    bob.log_in("bob", "builder")
    before, sid = stats(alice), alice.sid
    assert Client(address).post("/admin/expire?user=alice&after=2").status == 200
    assert [alice.get("/account").status for _ in range(4)] == [200, 200, 302, 302]
    assert bob.get("/account").status == 200
    assert alice.sid == sid
    assert stats(alice)["expired"] - before["expired"] == 1
    assert alice.log_in("alice", "wonderland").status == 303
    assert [alice.get("/account").status for _ in range(4)] == [200] * 4


@pytest.fixture
def _bans_end(client: Client) -> Iterator[None]:
    """Let no ban outlast its test: the shop serves them all."""
    yield
    client.post("/admin/ban")


@pytest.mark.usefixtures("_bans_end")
def test_the_shop_bans_on_request(address: str, client: Client) -> None:
    """After ``/admin/ban`` each session may read so many pages, and finds all closed from then on."""
    before = stats(client)["refused"]
    client.post("/admin/ban?after=3")
    assert [client.get("/catalogue").status for _ in range(5)] == [200, 200, 200, 403, 403]
    assert Client(address).get("/catalogue").status == 200
    assert stats(client)["refused"] - before == 2
    client.post("/admin/ban")
    assert client.get("/catalogue").status == 200


@pytest.mark.parametrize("path", ["/admin/expire", "/admin/expire?user=alice", "/admin/ban?after=1", "/admin/else"])
def test_only_a_complete_post_administrates(client: Client, path: str) -> None:
    """What isn't a POST to a control that there is, with all that it needs, changes nothing."""
    assert client.get(path).status == 404
    if "?" not in path:
        assert client.post(path).status == 404
    assert client.get("/catalogue").status == 200
    assert client.get("/catalogue").status == 200


def test_what_a_visitor_sends_is_escaped(alice: Client, client: Client) -> None:
    """HTML in a user agent doesn't become part of a page."""
    other = Client(client.address, agent="<script>alert(1)</script>")
    other.log_in("bob", "builder")
    page = other.get("/account/profile").text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_unknown_page_is_not_found(client: Client) -> None:
    """Other paths are 404, with the way back to the shop."""
    page = client.get("/nothing/here")
    assert (page.status, 'href="/"' in page.text) == (404, True)


def test_the_demo_fails_aloud(tmp_path: Path) -> None:
    """When the spider can't run, the demo exits non-zero and shows the spider's log."""
    package = tmp_path / "scrapy_sessions"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('broken on purpose')")
    finished = subprocess.run(
        [sys.executable, str(PROJECT / "demo.py")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert finished.returncode == 1
    assert "broken on purpose" in finished.stderr
    assert "FAILED: The spider failed" in finished.stderr


def test_the_browser_demo_needs_a_browser(tmp_path: Path) -> None:
    """Where there is no Chromium, the demo says which program to install."""
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "CHROMIUM"}
    finished = subprocess.run(
        [sys.executable, str(PROJECT / "demo_browser.py")],
        env={**environment, "PATH": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert finished.returncode == 1
    assert "install chromium" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_login_can_need_a_script() -> None:
    """With ``--scripted``, the right password without the proof of the form's script is no login."""
    with demo.shop("--scripted") as url:
        client = Client(url.partition("//")[2])
        assert "proof" in client.get("/login").text
        assert client.log_in("alice", "wonderland").status == 200
        assert demo.seen_by_shop(url)["failed_logins"] == 1
