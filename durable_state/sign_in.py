"""Whether users whose connections stay open are still signed in, checked for many at once.

A request looks at its session once; a connection that stays open has to look again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.cache import caches
from django.utils import timezone
from django.utils.crypto import constant_time_compare

__all__ = ["SignIn", "ended", "sign_in_of"]

AT_ONCE = 500
"""How many sessions, or users, one query asks for."""


class SignIn(NamedTuple):
    """A user, and the session by which they are signed in."""

    session_key: str
    user: str
    """Their primary key, as the session spells it."""
    backend: str
    """The dotted path of the backend that authenticated them."""
    password_hash: str
    """The session's copy, by which a changed password ends it; "" if it has none."""


def sign_in_of(session: Any) -> SignIn | None:
    """The sign-in of a request's or a socket's session; None if nobody is signed in.

    May read the session from its store, so call it in a thread.
    """
    user = None if session is None else session.get(SESSION_KEY)
    if user is None or not session.session_key:
        return None
    return SignIn(
        session.session_key,
        str(user),
        session.get(BACKEND_SESSION_KEY, ""),
        session.get(HASH_SESSION_KEY, ""),
    )


def ended(sign_ins: Collection[SignIn]) -> set[SignIn]:
    """Those whose session has ended or expired, or whose user or password has changed since.

    A session that is kept only in a cookie ends only by its age, since the server knows nothing
    else about it.
    """
    live = _live_sessions({each.session_key for each in sign_ins})
    going_on = [each for each in sign_ins if each.session_key in live]
    users = _users({each.user for each in going_on})
    valid = {each for each in going_on if _is_valid(each, users.get(each.user))}
    return set(sign_ins) - valid


def _live_sessions(keys: set[str]) -> set[str]:
    store: Any = import_module(settings.SESSION_ENGINE).SessionStore
    live: set[str] = set()
    if issubclass(store, DatabaseStore):
        sessions = store.get_model_class()._default_manager.filter(expire_date__gt=timezone.now())
        for some in _portions(keys):
            found = sessions.filter(session_key__in=some)
            live.update(found.values_list("session_key", flat=True))
    elif issubclass(store, CacheStore):
        prefix = store.cache_key_prefix
        cache = caches[settings.SESSION_CACHE_ALIAS]
        for some in _portions(keys):
            found = cache.get_many([prefix + key for key in some])
            live.update(key for key in some if prefix + key in found)
    else:
        live.update(key for key in keys if SESSION_KEY in store(key))
    return live


def _users(pks: set[str]) -> dict[str, Any]:
    model = get_user_model()
    found: dict[str, Any] = {}
    for some in _portions(pks):
        for user in model._default_manager.filter(pk__in=map(model._meta.pk.to_python, some)):
            found[user._meta.pk.value_to_string(user)] = user
    return found


def _is_valid(sign_in: SignIn, user: Any) -> bool:
    if user is None or sign_in.backend not in settings.AUTHENTICATION_BACKENDS:
        return False
    may_still = getattr(load_backend(sign_in.backend), "user_can_authenticate", None)
    if may_still is not None and not may_still(user):
        return False
    if not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(sign_in.password_hash, each) for each in hashes)


def _portions(names: set[str]) -> Iterator[list[str]]:
    whole = list(names)
    for start in range(0, len(whole), AT_ONCE):
        yield whole[start : start + AT_ONCE]
