"""Fixtures of the websocket's tests: users, and the application under test."""

from __future__ import annotations

from typing import Any, cast

import pytest
from channels.routing import URLRouter
from django.contrib.auth.models import Permission, User

from durable_state.routing import websocket_urlpatterns
from tests.feed.conftest import configure, fresh_layers  # noqa: F401  (fixtures)


@pytest.fixture
def make_user(transactional_db: None) -> Any:
    """Makes a user with permissions ("app.view_message")."""

    def make(*permissions: str, name: str = "ada", superuser: bool = False) -> User:
        user = User.objects.create_user(name, is_superuser=superuser)
        for permission in permissions:
            label, codename = permission.split(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=label, codename=codename)
            )
        return User.objects.get(pk=user.pk)

    return make


class AsUser:
    """The websocket routes, with one user signed in."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.routes = URLRouter(websocket_urlpatterns)  # type: ignore[arg-type]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.user is not None:
            scope = cast(Any, scope | {"user": self.user})
        await self.routes(scope, receive, send)


@pytest.fixture
def as_user() -> type[AsUser]:
    """The application, for a user."""
    return AsUser
