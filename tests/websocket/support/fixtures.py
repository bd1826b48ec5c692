"""Users, and the application as one of them sees it, for conftests to load."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from .application import AsUser

__all__ = ["as_user", "make_user"]


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


@pytest.fixture
def as_user() -> type[AsUser]:
    """The application, for a user."""
    return AsUser
