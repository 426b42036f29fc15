"""An API with OAuth 2.0 (django-oauth-toolkit): password, client credentials and refresh tokens.

``python -m tests.field.apps.oauth_api FOLDER SECONDS`` issues tokens that live so many seconds.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.field.apps.django_server import configure, serve

configure(
    __name__,
    ["oauth2_provider"],
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": int(sys.argv[2]) if __name__ == "__main__" else 0,
        "SCOPES": {"read": "Read"},
        "DEFAULT_SCOPES": ["read"],
    },
)

from django.core.management import call_command  # noqa: E402  # needs the settings
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402
from oauth2_provider.views.generic import ProtectedResourceView  # noqa: E402


class Note(ProtectedResourceView):  # type: ignore[misc]  # django-oauth-toolkit has no types
    """Refuses a token that isn't valid with 403."""

    def get(self, request: Any, number: int) -> JsonResponse:
        user = request.resource_owner
        return JsonResponse({"user": user.username if user is not None else "service"})


urlpatterns = [path("o/", include("oauth2_provider.urls")), path("notes/<int:number>/", Note.as_view())]


def log_out() -> None:
    RefreshToken.objects.all().delete()
    AccessToken.objects.all().delete()


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for client, grant in (("people", Application.GRANT_PASSWORD), ("service", Application.GRANT_CLIENT_CREDENTIALS)):
        Application.objects.create(
            authorization_grant_type=grant,
            client_id=client,
            client_secret="shared",
            client_type=Application.CLIENT_CONFIDENTIAL,
        )
    serve(["/o/token/"], log_out)
