"""Who makes a request, at its start and while it waits."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import (
    BaseAuthentication,
    BasicAuthentication,
    SessionAuthentication,
)
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from durable_state.sign_in import ended, sign_in_of
from durable_state.users import follower_name, user_now

__all__ = ["current_user", "name_of"]


def name_of(request: Request) -> str:
    """Names the user or address whose requests share a limit."""
    return follower_name(request.user, request.META.get("REMOTE_ADDR", ""))


def current_user(request: Request) -> Any:
    """The request's user with their current permissions.

    Anonymous if the session has ended, the token is no longer valid, or the user was deleted.
    """
    user = request.user
    if _is_by_session(request):
        sign_in = sign_in_of(request._request.session)
        if sign_in is None or ended([sign_in]):
            return AnonymousUser()
        return user_now(user)
    authenticator: Any = request.successful_authenticator
    if isinstance(authenticator, BasicAuthentication):
        # Checking the password itself is slow on purpose.
        now = user_now(user)
        is_same = getattr(now, "password", "") == getattr(user, "password", "")
        return now if is_same else AnonymousUser()
    if authenticator is not None and not _still_names(authenticator, request):
        return AnonymousUser()
    return user_now(user)


def _still_names(authenticator: BaseAuthentication, request: Request) -> bool:
    """Whether the request's credentials still name its user."""
    try:
        found = authenticator.authenticate(request)
    except APIException:
        return False
    return found is not None and found[0].pk == request.user.pk


def _is_by_session(request: Request) -> bool:
    authenticator = request.successful_authenticator
    if authenticator is not None and not isinstance(authenticator, SessionAuthentication):
        return False
    return SESSION_KEY in getattr(request._request, "session", ())
