"""Django's admin. Without permission alice is refused with 403, or redirected to the login form (``/reports/``)."""

from __future__ import annotations

from typing import Any

from tests.field.apps.django_server import configure, serve

configure(__name__, LOGIN_URL="/admin/login/")

from django.contrib import admin  # noqa: E402  # needs the settings
from django.contrib.auth.decorators import permission_required  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


@permission_required("auth.view_user")
def report(request: Any, number: int) -> HttpResponse:
    return HttpResponse(f'<p id="user-tools"><strong>{request.user.username}</strong></p>report {number}')


urlpatterns = [path("admin/", admin.site.urls), path("reports/<int:number>/", report)]

if __name__ == "__main__":
    serve(["/admin/login/"])
