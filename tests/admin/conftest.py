"""Users of the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from .support.visitors import SignIn


@pytest.fixture
def sign_in(db: None) -> SignIn:
    """A client of a staff user with exactly these permissions, such as
    "durable_state.view_stream".
    """

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
