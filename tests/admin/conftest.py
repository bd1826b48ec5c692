"""Who looks at the admin."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from durable_state.policy import StatePolicy


class SignIn(Protocol):
    """Signs somebody in who has these permissions."""

    def __call__(self, *permissions: str) -> Client: ...


@pytest.fixture
def sign_in(db: None) -> SignIn:
    """A client of a staff user with just these permissions, such as "durable_state.view_stream"."""

    def enter(*permissions: str) -> Client:
        user = User.objects.create_user("ada", is_staff=True)
        for each in permissions:
            app, _, codename = each.partition(".")
            user.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
        client = Client()
        client.force_login(user)
        return client

    return enter


class OnlyPublic(StatePolicy):
    """Streams and rows with "public" in their names."""

    def streams(self, user: Any) -> Any:
        return super().streams(user).filter(name__startswith="public")

    def rows(self, user: Any, queryset: Any) -> Any:
        return super().rows(user, queryset).filter(text__startswith="public")
