"""What the Django applications have in common: settings, users, a database in a folder, and what is counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from tests.field.apps.watch import Watch, serve_wsgi

__all__ = ["PASSWORDS", "configure", "serve"]

PASSWORDS = {"alice": "wonderland", "boss": "corner office"}


def configure(module: str, apps: Sequence[str] = (), middleware: Sequence[str] = (), **options: Any) -> None:
    """Set Django up for the URLs of *module*, with *apps* and *middleware* beside its own."""
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(sys.argv[1]) / "db.sqlite3",
                "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},  # threads wait for each other
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            *apps,
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            *middleware,
            f"{__name__}.counting",
        ],
        LOGGING_CONFIG=None,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=module,
        SECRET_KEY="for tests",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        USE_TZ=True,
        **options,
    )
    django.setup()


_watch: Watch
_login_paths: Sequence[str]


def counting(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The innermost middleware: counts logins that are posted, and pages of those who are logged in.

    A login without a user name is counted under the name of its OAuth 2.0 grant, if it has one.
    """

    def middleware(request: Any) -> Any:
        is_login = request.path in _login_paths
        if is_login and request.method == "POST":
            data = json.loads(request.body) if request.content_type == "application/json" else request.POST
            user = data.get("username") or data.get("auth-username") or data.get("grant_type")
            if user is not None:  # the second page of a login has none
                _watch.login(user)
        response = get_response(request)
        if request.user.is_authenticated and response.status_code < 300 and not is_login:
            _watch.page(request.user.username, request.get_full_path())
        return response

    return middleware


def serve(login_paths: Sequence[str], log_out: Callable[[], Any] | None = None) -> None:
    """Create tables and users, and serve. *log_out* deletes Django's sessions unless it is given."""
    global _watch, _login_paths  # Django makes its middleware by itself
    from django.contrib.auth.models import Group, Permission, User  # noqa: PLC0415  # needs the settings
    from django.contrib.sessions.models import Session  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    alice = User.objects.create_user("alice", password=PASSWORDS["alice"], is_staff=True)
    alice.user_permissions.add(Permission.objects.get(codename="view_group"))
    User.objects.create_superuser("boss", password=PASSWORDS["boss"])
    Group.objects.bulk_create(Group(name=f"group {number}") for number in range(1, 31))
    _watch, _login_paths = Watch(log_out or Session.objects.all().delete), login_paths
    serve_wsgi(get_wsgi_application(), _watch)
