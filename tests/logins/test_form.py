"""Which form of a page is the login's, what is sent with it, and when the login has worked."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.http import Response

from scrapy_sessions.exceptions import LoginImpossible, LoginRejected
from scrapy_sessions.logins import Credentials, FormLogin
from scrapy_sessions.sessions.browser_session import BrowserSession
from tests.support.login_pages import LOGIN, Pages, config_of, html

SECRET = "hunter2"
WELCOME = html("<h1>Hello</h1>", url="https://shop.test/account")
PASSWORD = "<input name=pw type=password>"


class Shop(FormLogin):
    login_url = LOGIN

    totp: str | None = None

    async def credentials(self, session: BrowserSession) -> Credentials:
        return Credentials(session.id, SECRET, totp=self.totp)


async def posted_at(*pages: Response, **attributes: Any) -> list[dict[str, str]]:
    """The forms that are posted at *pages*, with *attributes* of the class changed."""
    site = Pages(*pages)
    await site.log_in(config_of(type("Changed", (Shop,), attributes)))
    return site.posted


REGISTER = "<form method=post><input name=new><input name=p1 type=password><input name=p2 type=password></form>"
NEW = "<form method=post><input name=new><input name=p1 type=password autocomplete=new-password></form>"
BUTTON = "<button name=do value=login>Log in</button>"
FORMS = {
    "hidden fields": (
        f"<form method=post><input type=hidden name=csrf value=t1><input name=user>{PASSWORD}</form>",
        {"csrf": "t1", "user": "alice", "pw": SECRET},
    ),
    "a search form comes first": (
        f"<form><input name=q></form><form method=post><input name=email type=email>{PASSWORD}</form>",
        {"email": "alice", "pw": SECRET},
    ),
    "a form to register beside it": (
        f"{REGISTER}<form method=post><input name=user>{PASSWORD}</form>",
        {"user": "alice", "pw": SECRET},
    ),
    "registering asks for one password": (
        f"{NEW}<form method=post><input name=user>{PASSWORD}</form>",
        {"user": "alice", "pw": SECRET},
    ),
    "a field before the user name": (
        f"<form method=post><input name=tenant value=acme><input name=user autocomplete=username>{PASSWORD}</form>",
        {"tenant": "acme", "user": "alice", "pw": SECRET},
    ),
    "the button is sent, an unticked box isn't": (
        f"<form method=post><input name=user>{PASSWORD}<input type=checkbox name=remember>{BUTTON}</form>",
        {"user": "alice", "pw": SECRET, "do": "login"},
    ),
    "an encoding for uploads": (
        f"<form method=post enctype=multipart/form-data><input name=user>{PASSWORD}</form>",
        {"user": "alice", "pw": SECRET},
    ),
    "an optional code, of an account without one": (
        f"<form method=post><input name=user>{PASSWORD}<input name=otp_token><input type=checkbox name=2fa></form>",
        {"user": "alice", "pw": SECRET, "otp_token": ""},
    ),
    "a captcha before the password": (
        f"<form method=post><input name=user><input name=captcha>{PASSWORD}</form>",
        {"user": "alice", "captcha": "", "pw": SECRET},
    ),
    "a number of a customer": (
        f"<form method=post><input type=number name=no>{PASSWORD}</form>",
        {"no": "alice", "pw": SECRET},
    ),
    "only a password": (f"<form method=post>{PASSWORD}</form>", {"pw": SECRET}),
    "names in upper case types": (
        "<form method=POST><input NAME=user TYPE=TEXT><input NAME=pw TYPE=PASSWORD></form>",
        {"user": "alice", "pw": SECRET},
    ),
}


@pytest.mark.parametrize("name", FORMS)
async def test_what_is_sent(name: str) -> None:
    """The form of the login is found, and sent with its own fields and the credentials."""
    body, expected = FORMS[name]
    assert await posted_at(html(body), WELCOME) == [expected]


TOTP = "GEZDGNBVGY3TQOJQ"  # 80 bits, as many sites have it


async def test_user_name_and_password_on_two_pages() -> None:
    """A page that asks for a marked user name alone is the first half of the form."""
    first = html("<form method=post><input name=id type=email autocomplete='username webauthn'></form>")
    second = html(f"<form method=post><input type=hidden name=id value=alice>{PASSWORD}</form>")
    assert await posted_at(first, second, WELCOME) == [{"id": "alice"}, {"id": "alice", "pw": SECRET}]


async def test_a_newsletter_is_no_login() -> None:
    """A form with an e-mail field and no password is none, before a login and after it."""
    newsletter = "<form method=post action=/news><input name=email type=email autocomplete=email></form>"
    after = html(newsletter, url="https://shop.test/account")
    page = html(f"{newsletter}<form method=post><input name=user>{PASSWORD}</form>")
    assert await posted_at(page, after) == [{"user": "alice", "pw": SECRET}]


@pytest.mark.parametrize("field", ["otp", "totp_code", "token-otp_token", "two_factor.otp_code"])
async def test_a_code_after_the_password(field: str) -> None:
    """The page after the password asks for a one-time code, which its name says."""
    form = html(f"<form method=post><input name=user>{PASSWORD}</form>")
    code = html(f"<form method=post><input type=hidden name=step value=2><input name={field}></form>")
    _, second = await posted_at(form, code, WELCOME, totp=TOTP)
    assert second["step"] == "2"
    assert second[field].isdigit()
    assert len(second[field]) == 6


async def test_a_code_beside_the_password() -> None:
    """A field that is marked for a one-time code is filled on the page of the password, too."""
    form = html(f"<form method=post><input name=user>{PASSWORD}<input name=x autocomplete=one-time-code></form>")
    (sent,) = await posted_at(form, WELCOME, totp=TOTP)
    assert sent["user"] == "alice"
    assert sent["x"].isdigit()


async def test_the_fields_are_named() -> None:
    """Names in the class win over what the form says; further fields are added, and fields left out."""
    page = html(
        "<form method=post><input name=q></form>"
        "<form id=f method=post><input name=a><input name=b><input name=drop value=1></form>"
    )
    sent = await posted_at(
        page,
        WELCOME,
        form="form#f",
        username_field="a",
        password_field="b",
        formdata={"remember": "on", "drop": None},
    )
    assert sent == [{"a": "alice", "b": SECRET, "remember": "on"}]


@pytest.mark.parametrize(
    ("head", "action", "url"),
    [
        ("", "/session?x=1", "https://shop.test/session?x=1"),
        ("<base href='https://id.shop.test/a/'>", "b", "https://id.shop.test/a/b"),
        ("", "", LOGIN),
    ],
)
async def test_where_it_is_sent(head: str, action: str, url: str) -> None:
    """The action is resolved against the page's base."""
    site = Pages(html(f"{head}<form method=post action='{action}'><input name=user>{PASSWORD}</form>"), WELCOME)
    await site.log_in(config_of(Shop))
    assert site.requests[-1].url == url


FORM = f"<form method=post><input name=user>{PASSWORD}</form>"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (html(FORM.replace("post", "post action='http://shop.test/login'")), "over plain HTTP"),
        (html(FORM, url="http://shop.test/login"), "over plain HTTP"),  # after a redirect
        (html(FORM.replace("post", "post action='https://evil.test/x'")), "to evil.test: if that is right, add it"),
        (html(FORM, url="https://parked.test/"), "to parked.test: if that is right, add it"),
        (html(FORM.replace(" method=post", "")), "isn't sent by POST"),
        (html(FORM.replace("post", "dialog")), "isn't sent by POST"),
    ],
)
async def test_no_password_for_others(page: Response, message: str) -> None:
    """The form is not sent over plain HTTP, to another site, or in a URL: the login fails at once."""
    site = Pages(page)
    with pytest.raises(LoginImpossible, match=message):
        await site.log_in(config_of(Shop))
    assert len(site.requests) == 1


async def test_a_trusted_host() -> None:
    """A host that the class names, and a subdomain of the login's site, may get the credentials."""
    elsewhere = html(FORM, url="https://id.example/form")
    assert len(await posted_at(elsewhere, WELCOME, trusted_hosts=["id.example"])) == 1
    assert len(await posted_at(html(FORM, url="https://id.shop.test/form"), WELCOME)) == 1


async def test_a_code_that_was_refused_before() -> None:
    """A site that asks for the code at once has kept the password from an earlier try."""
    (sent,) = await posted_at(html("<form method=post><input name=otp></form>"), WELCOME, totp=TOTP)
    assert sent["otp"].isdigit()
    with pytest.raises(LoginImpossible, match="its credentials have no totp"):
        await posted_at(html("<form method=post><input name=otp></form>"))


async def test_a_form_of_the_account() -> None:
    """A form with another password field, after the login, is not that of the login."""
    account = html("<form method=post><input name=delete_pw type=password></form>", url="https://shop.test/account")
    assert len(await posted_at(html(FORM), account)) == 1


@pytest.mark.parametrize("shown", [html(FORM), html("", status=403), html("<p>Please wait", url=LOGIN)])
async def test_the_page_that_proves_it(shown: Response) -> None:
    """With a probe_url, a login has worked if the site shows that page."""
    refused = html("<p>Too many attempts</p>")
    with pytest.raises(LoginRejected):
        await posted_at(html(FORM), refused, shown, probe_url="/account")
    assert len(await posted_at(html(FORM), refused, WELCOME, probe_url="/account")) == 1


async def test_a_wrong_password_is_sent_once() -> None:
    """A form that comes again has refused what was sent: the login fails without another try of its own."""
    form = html(f"<form method=post><input name=user>{PASSWORD}</form>")
    site = Pages(form, form)
    with pytest.raises(LoginRejected, match="it has refused the password and the username"):
        await site.log_in(config_of(Shop))
    assert len(site.posted) == 1


@pytest.mark.parametrize("status", [401, 403, 422, 429, 500])
async def test_a_status_is_a_refusal(status: int) -> None:
    """A status from 400 on has refused the login, whatever the page contains."""
    site = Pages(html(f"<form method=post><input name=user>{PASSWORD}</form>"), html("", status=status))
    with pytest.raises(LoginRejected, match=f"status {status}"):
        await site.log_in(config_of(Shop))


async def test_a_session_that_is_logged_in() -> None:
    """A site that leads the session away from its form knows it still: nothing is sent."""
    assert await posted_at(WELCOME) == []


@pytest.mark.parametrize("page", [html("<p>Sign in with JavaScript</p>"), Response(LOGIN, body=b"\0")])
async def test_no_form(page: Response) -> None:
    """The error names the URL, and what to do."""
    with pytest.raises(LoginImpossible, match=f"no form with a password field at {LOGIN}: set Shop.form"):
        await Pages(page).log_in(config_of(Shop))


async def test_a_relative_url() -> None:
    """A login_url without a host can't be fetched."""

    class Relative(Shop):
        login_url = "/login"

    with pytest.raises(LoginImpossible, match=r"Relative\.login_url must be a URL with a scheme and a host"):
        await Pages().log_in(config_of(Relative))


async def test_forms_without_end() -> None:
    """After four forms, it is given up."""
    pages = [html("<form method=post><input name=id autocomplete=username></form>")]
    pages += [
        html(f"<form method=post><input name=user>{PASSWORD}</form>"),
        html("<form method=post><input name=otp></form>"),
    ]
    with pytest.raises(LoginRejected, match="refused the code"):
        await posted_at(*pages, pages[-1], totp=TOTP)
