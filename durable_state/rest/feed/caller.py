"""Whose request it is, now and while it waits."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.db import models
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

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
        engine = import_module(settings.SESSION_ENGINE)
        again = copy.copy(request._request)
        again.session = engine.SessionStore(request._request.session.session_key)
        return get_user(again)
    if isinstance(user, models.Model):
        # Not `type(user)`: it may be wrapped in a lazy object.
        return user.__class__._default_manager.filter(pk=user.pk).first() or AnonymousUser()
    return user


def _is_by_session(request: Request) -> bool:
    authenticator = request.successful_authenticator
    if authenticator is not None and not isinstance(authenticator, SessionAuthentication):
        return False
    session = getattr(request._request, "session", None)
    return session is not None and SESSION_KEY in session
