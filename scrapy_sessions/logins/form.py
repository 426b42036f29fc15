"""Logging in with an HTML form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urljoin, urlsplit

from form2request import form2request
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.http.request import NO_CALLBACK
from scrapy.selector import Selector  # of a field
from scrapy.utils.response import get_base_url

from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.exceptions import LoginImpossible, LoginRejected
from scrapy_sessions.logins.config import LoginConfig
from scrapy_sessions.safe_repr import safe_repr

if TYPE_CHECKING:
    from scrapy.http import Response, TextResponse

    from scrapy_sessions.config import Fetch
    from scrapy_sessions.logins.credentials import Credentials
    from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["FormLogin"]

_MOST_FORMS = 4
_TEXT_TYPES = frozenset({"", "email", "number", "tel", "text"})
_CODE_NAME = re.compile(
    r"(^|[-_.])((t?otp|2fa|mfa|two_?factor)(_?(code|token))?|(verification|security|authentication)_?code)$",
    re.IGNORECASE,
)
_USERNAME_NAME = re.compile(r"user|mail|login|account|customer", re.IGNORECASE)


class _Field(NamedTuple):
    """An input of a form. ``hints`` are the words of its ``autocomplete``."""

    name: str
    type: str
    hints: frozenset[str]

    def __repr__(self) -> str:
        return safe_repr(self, "name")

    @classmethod
    def of(cls, element: Selector) -> _Field:
        attributes = element.attrib
        hints = frozenset(attributes.get("autocomplete", "").lower().split())
        return cls(attributes["name"], attributes.get("type", "").lower(), hints)


class _Step(NamedTuple):
    """A form of the login, and the names of its fields that it asks for."""

    form: Selector
    username: str | None
    password: str | None
    code: str | None

    def __repr__(self) -> str:
        return safe_repr(self)


class FormLogin(LoginConfig):
    """Logs in with the form at :attr:`login_url`, which is found by its password field.

    Its hidden fields are kept, and sent along. User name and password may be asked for on one page or on two; a
    one-time code (TOTP) on the page of the password or after it. The login has worked when no such form is left and,
    if there is a :attr:`probe_url`, the site shows that page.

    .. code-block:: python

        class Shop(FormLogin):
            login_url = "https://shop.example/login"

    With ``SESSIONS_CREDENTIALS = ["env:SHOP_{session_id}"]``, the session ``alice`` logs in with her name, and the
    password in the environment variable ``SHOP_alice``.
    """

    form: str = ""
    """The CSS selector of the form. Empty: the first form with one password field."""

    username_field: str = ""
    """The name of the field for the user name. Empty: the one marked as such, or whose name says so, else the text
    field before the password."""

    password_field: str = ""
    """The name of the field for the password. Empty: the field of the type ``password``."""

    code_field: str = ""
    """The name of the field for a one-time code. Empty: the one marked as such, or whose name says so."""

    formdata: ClassVar[Mapping[str, str | None]] = {}
    """Further fields, such as ``{"remember": "on"}``; ``None`` leaves a field of the form out."""

    trusted_hosts: ClassVar[Sequence[str]] = ()
    """Further hosts that may get the credentials, such as that of a single sign-on. By default, they are sent to the
    registrable domain of :attr:`login_url` only."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        """Send the form, and those that follow it.

        Raises :exc:`~scrapy_sessions.exceptions.LoginRejected` if the site shows a form again, and
        :exc:`~scrapy_sessions.exceptions.LoginImpossible` if there is none, or none that the credentials may be sent
        with.
        """
        page = await fetch(Request(self._login_url(), callback=NO_CALLBACK, dont_filter=True))
        credentials: Credentials | None = None
        sent: dict[str, str] = {}
        for _ in range(_MOST_FORMS + 1):  # the last time to see that no form is left
            self._look_at_status(page)
            step = self._find(page, sent)
            if step is None:
                if not sent and self.is_login_page(page.url):
                    raise LoginImpossible(
                        f"there is no form with a password field at {self.login_url}: set {type(self).__qualname__}"
                        ".form, or use a browser if JavaScript makes the form"
                    )
                await self._probe(fetch)
                return  # also if the site has redirected a session that is still logged in
            if credentials is None:
                credentials = await self.credentials(session)
            page = await fetch(await self._filled(step, page, session, credentials, sent))
        raise LoginRejected(f"after {_MOST_FORMS} forms, the site shows another one")

    async def _probe(self, fetch: Fetch) -> None:
        """Look at the page that only a logged-in session gets, if the class names one."""
        if not self.probe_url:
            return
        url = urljoin(self._login_url(), self.probe_url)
        page = await fetch(Request(url, callback=NO_CALLBACK, dont_filter=True))
        self._look_at_status(page)
        if self.is_login_page(page.url) or self._find(page, {}) is not None:
            raise LoginRejected("the site took the forms, but doesn't show the probe_url")

    async def _filled(
        self, step: _Step, page: TextResponse, session: BrowserSession, credentials: Credentials, sent: dict[str, str]
    ) -> Request:
        """Return the request that sends the form of *step*, and add to *sent* which fields it sends."""
        names = {"username": step.username, "password": step.password, "code": step.code}
        asked = {kind: name for kind, name in names.items() if name is not None}
        if asked.keys() <= sent.keys():
            raise LoginRejected(f"the site shows its form again: it has refused the {' and the '.join(sorted(asked))}")
        data: dict[str, Any] = dict(self.formdata) if step.password is not None else {}
        if step.username is not None:
            data[step.username] = credentials.username
        if step.password is not None:
            data[step.password] = credentials.password
        if step.code is not None:
            if step.password is None or credentials.totp:
                data[step.code] = await self.one_time_code(session, credentials)
            else:  # one for those who have a second factor
                del asked["code"]
        sent.update(asked)
        # lxml resolves the action against this; by itself, it ignores <base href>.
        step.form.root.getroottree().docinfo.URL = get_base_url(page)
        # A form for uploads takes the usual encoding, too, which is the only one that form2request has.
        method = step.form.attrib.get("method", "").lower()
        enctype = "application/x-www-form-urlencoded" if method == "post" else None
        request: Request = form2request(
            step.form, data, enctype=enctype, method="GET" if method == "dialog" else None
        ).to_scrapy(NO_CALLBACK, dont_filter=True)
        self._check_target(request, page)
        return request

    def _check_target(self, request: Request, page: TextResponse) -> None:
        """Raise :exc:`~scrapy_sessions.exceptions.LoginImpossible` if credentials must not be sent with *request*."""
        if request.method != "POST":
            raise LoginImpossible(
                f"the form at {self.login_url} isn't sent by POST, which would put the credentials into a URL: "
                "JavaScript sends it, so write a login() that does the same"
            )
        if "https" in (urlsplit(self.login_url).scheme, urlsplit(page.url).scheme) and (
            urlsplit(request.url).scheme != "https"
        ):
            raise LoginImpossible(f"the form at {self.login_url} would send the credentials over plain HTTP")
        hosts = [urlsplit(self.login_url).hostname or "", *self.trusted_hosts]
        host = urlsplit(request.url).hostname or ""
        if site_of(host) not in map(site_of, hosts):
            raise LoginImpossible(
                f"the form at {self.login_url} would send the credentials to {host}: if that is right, add it to "
                f"{type(self).__qualname__}.trusted_hosts"
            )

    @staticmethod
    def _look_at_status(page: Response) -> None:
        if page.status >= 400:
            raise LoginRejected(f"the site answered with status {page.status}")

    def _find(self, page: TextResponse, sent: Mapping[str, str]) -> _Step | None:
        """Return the form of the login that *page* contains, if any."""
        if not isinstance(page, HtmlResponse):
            return None
        steps = [self._step(form, sent) for form in page.selector.css(self.form or "form")]
        wanted = [step for step in steps if step is not None]
        return next((step for step in wanted if step.password is not None), wanted[0] if wanted else None)

    def _step(self, form: Selector, sent: Mapping[str, str]) -> _Step | None:
        """Return what *form* asks for, ``None`` for a form that isn't one of a login."""
        fields = [_Field.of(element) for element in form.css("input[name]") if element.attrib["name"]]
        passwords = [each.name for each in fields if each.name == self.password_field]
        if not self.password_field:
            passwords = [each.name for each in fields if each.type == "password" and "one-time-code" not in each.hints]
            if len(passwords) > 1 or any("new-password" in each.hints for each in fields):
                return None  # a form to register, or to change the password
        password = passwords[0] if passwords else None
        if password is not None and sent.get("password", password) != password:
            return None  # a form of the account, as to delete it
        code = self._code(fields)
        username = self._username(fields, password, code)
        if password is None and "password" in sent:
            username = None
        return None if username is None and password is None and code is None else _Step(form, username, password, code)

    def _code(self, fields: Sequence[_Field]) -> str | None:
        for each in fields:
            if each.name == self.code_field or (not self.code_field and "one-time-code" in each.hints):
                return each.name
        if self.code_field:
            return None
        typed = (each.name for each in fields if each.type in _TEXT_TYPES or each.type == "password")
        return next(filter(_CODE_NAME.search, typed), None)

    def _username(self, fields: Sequence[_Field], password: str | None, code: str | None) -> str | None:
        """Return the name of the field for the user name.

        In a form without a password, only a field that is marked as one counts: a newsletter has an e-mail field, too.
        """
        if self.username_field:
            return next((each.name for each in fields if each.name == self.username_field), None)
        texts = [each for each in fields if each.type in _TEXT_TYPES and each.name not in (password, code)]
        marked = next((each.name for each in texts if "username" in each.hints), None)
        if marked is not None or password is None:
            return marked
        mail = [each.name for each in texts if "email" in each.hints]
        named = [each.name for each in texts if _USERNAME_NAME.search(each.name)]
        before = [each.name for each in takewhile(lambda each: each.name != password, fields) if each in texts]
        return next(chain(mail, named, reversed(before)), None)
