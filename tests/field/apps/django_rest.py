"""Django REST framework: the same pages with a token and with Django's session. Alice may not see the secrets."""

from __future__ import annotations

import sys
from typing import Any

from tests.field.apps.django_server import configure, serve

configure(__name__, ["rest_framework", "rest_framework.authtoken"])

from django.urls import include, path  # noqa: E402  # needs the settings
from rest_framework.authentication import SessionAuthentication, TokenAuthentication  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.authtoken.views import obtain_auth_token  # noqa: E402
from rest_framework.permissions import BasePermission, IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Note(APIView):
    permission_classes = (IsAuthenticated,)

    def get(self, request: Any, number: int) -> Response:
        return Response({"user": request.user.username, "note": number})

    def post(self, request: Any, number: int) -> Response:
        return Response({"user": request.user.username, "note": number, "text": request.data["text"]})


class MayViewUsers(BasePermission):  # type: ignore[misc]  # Django REST framework has no types
    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.has_perm("auth.view_user"))


class Secret(Note):
    permission_classes = (MayViewUsers,)


urlpatterns = [
    path("token/login/", obtain_auth_token),
    path("session/", include("rest_framework.urls")),
    *(
        path(f"{kind}/{name}/<int:number>/", view.as_view(authentication_classes=(authentication,)))
        for kind, authentication in (("token", TokenAuthentication), ("session", SessionAuthentication))
        for name, view in (("notes", Note), ("secrets", Secret))
    ),
]

if __name__ == "__main__":
    with_token = sys.argv[2:] == ["token"]
    serve(["/token/login/", "/session/login/"], (lambda: Token.objects.all().delete()) if with_token else None)
