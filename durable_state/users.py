"""Users as a policy sees them: as of now, with what the project has attached to them.

Authentication by a token often attaches something to the user it finds, such as the token's scopes,
and a policy may go by it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Hashable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.utils.functional import LazyObject

__all__ = ["follower_name", "identity_of", "user_now"]


def follower_name(user: Any, address: str) -> str:
    """Who shares places for live connections: a user, or an address where nobody is signed in."""
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    if ":" in address:
        # Whoever has an IPv6 address has many: they differ in the last 64 bits.
        with contextlib.suppress(ValueError):
            network = ipaddress.ip_network((address.partition("%")[0], 64), strict=False)
            address = str(network)
    return f"address {address}" if address else "somebody"


def user_now(user: Any) -> Any:
    """The user as of now, anonymous once they are gone; with what the project has attached.

    One from the database is read again, because it keeps its permissions once they were asked for.
    """
    if not isinstance(user, models.Model):
        return user
    attached = _attached_to(user)
    # Not `type(user)`: Channels and Django wrap the user in a lazy object.
    found = user.__class__._default_manager.filter(pk=user.pk).first()
    if found is None:
        return AnonymousUser()
    for name, value in attached.items():
        if name not in vars(found):
            setattr(found, name, value)
    return found


def identity_of(user: Any) -> Hashable | None:
    """Names those users who are alike to every policy: the same user, with the same attached.

    None where nothing can tell: a project's own kind of user may hold anything.
    """
    is_row = isinstance(user, models.Model) and user.pk is not None
    if not is_row and not isinstance(user, AnonymousUser):
        return None
    try:
        attached = json.dumps(_attached_to(user), sort_keys=True)
    except (TypeError, ValueError):
        return None
    return user.__class__, user.pk, attached


def _attached_to(user: Any) -> dict[str, Any]:
    """The attributes of a user that are neither its columns nor Django's own."""
    plain = user._wrapped if isinstance(user, LazyObject) else user
    own = {"backend"}
    if isinstance(user, models.Model):
        own |= {field.attname for field in user._meta.concrete_fields}
    return {
        name: value
        for name, value in vars(plain).items()
        if name not in own and not name.startswith("_")
    }
