"""A Django site whose users log in with a password and a one-time code (django-two-factor-auth).

``python -m tests.field.apps.two_factor FOLDER KEY STEP``: the key of the codes, in hexadecimal digits, and the seconds
for which each is good. A code is accepted once.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.field.apps.django_server import configure, serve

configure(
    __name__,
    ["django_otp", "django_otp.plugins.otp_static", "django_otp.plugins.otp_totp", "two_factor"],
    ["django_otp.middleware.OTPMiddleware"],
    LOGIN_URL="two_factor:login",
    LOGIN_REDIRECT_URL="/notes/1/",
    STATIC_URL="/static/",
)

from django.http import HttpResponse  # noqa: E402  # needs the settings
from django.urls import include, path  # noqa: E402
from django_otp.decorators import otp_required  # noqa: E402
from two_factor.urls import urlpatterns as two_factor_urls  # noqa: E402


@otp_required  # type: ignore[untyped-decorator]
def note(request: Any, number: int) -> HttpResponse:
    return HttpResponse(f"<p id=user>{request.user.username}</p><p>Note {number}</p>")


urlpatterns = [path("", include(two_factor_urls)), path("notes/<int:number>/", note)]


def add_devices(sender: Any, instance: Any, created: bool, **others: Any) -> None:
    """Each user gets a device when he is created."""
    if created:
        instance.totpdevice_set.create(name="default", key=sys.argv[2], step=int(sys.argv[3]), confirmed=True)


if __name__ == "__main__":
    from django.contrib.auth.models import User
    from django.db.models.signals import post_save

    post_save.connect(add_devices, sender=User)
    serve(["/account/login/"])
