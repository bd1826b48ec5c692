"""Whose request it is, now and while it waits."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from durable_state.sign_in import ended, sign_in_of
from durable_state.users import user_now

__all__ = ["current_user", "name_of"]


def name_of(request: Request) -> str:
    """Who shares places: a user, or an address where nobody is signed in."""
    user = request.user
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    return f"address {request.META.get('REMOTE_ADDR', '')}"


def current_user(request: Request) -> Any:
    """The request's user as of now, with the permissions of now.

    Anonymous where the session has ended, or the user is gone.
    """
    user = request.user
    if _is_by_session(request):
        sign_in = sign_in_of(request._request.session)
        if sign_in is None or ended([sign_in]):
            return AnonymousUser()
    return user_now(user)


def _is_by_session(request: Request) -> bool:
    authenticator = request.successful_authenticator
    if authenticator is not None and not isinstance(authenticator, SessionAuthentication):
        return False
    return SESSION_KEY in getattr(request._request, "session", ())
