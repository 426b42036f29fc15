"""The host where people log in: Django with OAuth 2.0 (django-oauth-toolkit).

``python -m tests.field.apps.sso_provider FOLDER CALLBACK`` registers one client, which people need not approve.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.field.apps.django_server import configure, serve

configure(
    __name__,
    ["oauth2_provider"],
    LOGIN_URL="/admin/login/",
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read"}, "DEFAULT_SCOPES": ["read"]},
)

from django.contrib import admin  # noqa: E402  # needs the settings
from django.core.management import call_command  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.views.generic import ProtectedResourceView  # noqa: E402


class Me(ProtectedResourceView):  # type: ignore[misc]  # django-oauth-toolkit has no types
    def get(self, request: Any) -> JsonResponse:
        return JsonResponse({"user": request.resource_owner.username})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("o/", include("oauth2_provider.urls")),
    path("me/", Me.as_view()),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    Application.objects.create(
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        client_id="service",
        client_secret="shared",
        client_type=Application.CLIENT_CONFIDENTIAL,
        redirect_uris=sys.argv[2],
        skip_authorization=True,
    )
    serve(["/admin/login/"])
