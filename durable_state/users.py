"""Users as a policy sees them: as of now, with whatever the project has attached to them.

Authentication by token often attaches something to the user, such as the token's scopes, which a
policy may then use.
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

from .feed.shared_answers import share_answer

__all__ = ["follower_name", "identity_of", "user_now"]


def follower_name(user: Any, address: str) -> str:
    """Names who shares a limit on open connections: a user, or an address if nobody is signed in.

    IPv6 addresses that differ in the last 64 bits count as one, since whoever has one has them all.
    """
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if found.version == 6:
            # A server that listens to both kinds sees those of IPv4 as ::ffff:192.0.2.1.
            address = str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))
    return f"address {address}" if address else "somebody"


def user_now(user: Any) -> Any:
    """The user as of now, with what the project has attached; anonymous if it was deleted.

    A user from the database is read again, because a model instance caches its permissions.
    """
    if not isinstance(user, models.Model):
        return user
    identity = identity_of(user)
    if identity is None:
        return _read_user(user)
    return share_answer(("user", identity), lambda: _read_user(user))


def _read_user(user: models.Model) -> Any:
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
    """A value that is equal for users whom no policy can tell apart: the same user, with the same
    attributes attached.

    None if that cannot be known, because a project's own kind of user may hold anything.
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
    """A user's attributes that are neither its columns nor Django's own."""
    plain = user._wrapped if isinstance(user, LazyObject) else user
    own = {"backend"}
    if isinstance(user, models.Model):
        own |= {field.attname for field in user._meta.concrete_fields}
    return {
        name: value
        for name, value in vars(plain).items()
        if name not in own and not name.startswith("_")
    }
