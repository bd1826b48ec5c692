"""Who opened a socket, and whether they are still signed in."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.utils.module_loading import import_string

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError
from durable_state.feed import run_for
from durable_state.feed.outage import Answered, is_away, warn_away
from durable_state.sign_in import SignIn, ended, sign_in_of
from durable_state.users import follower_name

from .close_codes import AWAY, FAILED, NOT_SIGNED_IN

__all__ = ["Caller", "find_gone", "identify"]

logger = logging.getLogger("durable_state.websocket")

HOOK_SECONDS = 10.0
"""Seconds that the project's authentication may take, if it is async.

A sync one runs in the feed's threads, which have a limit of their own.
"""
HOOKS_AT_ONCE = 10


@dataclass(eq=False, frozen=True)
class Caller:
    """The user, or visitor, who opened a socket."""

    scope: Any
    user: Any
    sign_in: SignIn | None
    """The session by which they are signed in, if any."""
    has_token: bool
    """Whether the project's WEBSOCKET_AUTHENTICATION named them."""

    @property
    def follower(self) -> str:
        """Names who shares limits: a user, or an address if nobody is signed in."""
        client = self.scope.get("client")
        return follower_name(self.user, client[0] if client else "")


async def identify(scope: Any) -> Caller:
    """Whoever opened the socket of this scope.

    Raises: PermissionDenied, where the project's authentication does; whatever else it raises.
    """
    named = await _named_by_project(scope)
    if named is not None:
        return Caller(scope, named, None, has_token=True)
    user: Any = scope.get("user") or AnonymousUser()
    sign_in = None
    if user.is_authenticated:
        sign_in = await run_for(_handshake(scope), sign_in_of, scope.get("session"))
        if sign_in is not None and sign_in.user != user._meta.pk.value_to_string(user):
            sign_in = None  # Something else than the session named the user.
    return Caller(scope, user, sign_in, has_token=False)


async def find_gone(
    callers: Collection[Caller], answered: Answered
) -> AsyncGenerator[tuple[Caller, int], None]:
    """The callers who signed out, or whose session, password or token is no longer valid.

    Each with the close code, as soon as it is known: asking for tokens may take long. While nobody
    can say, as during an outage, the last answer counts for a while.
    """
    answered.forget_all_but(callers)
    with_session = [each for each in callers if each.sign_in is not None]
    with_token = [each for each in callers if each.has_token]
    if with_session:
        over = await _ended_sign_ins(with_session)
        for each in with_session:
            if over is None and not answered.still_holds(each):
                yield each, AWAY
            elif over is not None:
                answered.note(each)
                if each.sign_in in over:
                    yield each, NOT_SIGNED_IN

    for start in range(0, len(with_token), HOOKS_AT_ONCE):
        some = with_token[start : start + HOOKS_AT_ONCE]
        codes = await asyncio.gather(*(_code_for_token(each, answered) for each in some))
        for each, code in zip(some, codes, strict=True):
            if code is not None:
                yield each, code


async def _ended_sign_ins(callers: Collection[Caller]) -> set[SignIn] | None:
    """The sign-ins among theirs that have ended; None if the session store does not say."""
    sign_ins = {each.sign_in for each in callers if each.sign_in is not None}
    try:
        return await run_for("the sessions of websockets", ended, sign_ins)
    except Exception as error:
        if is_away(error):
            warn_away("the sessions of websockets", error)
        else:
            logger.exception("Could not check the sessions of open websockets; trying again.")
        return None


async def _code_for_token(caller: Caller, answered: Answered) -> int | None:
    """The close code for a token; None if it is valid. If nobody can say, the client may retry."""
    try:
        user = await _named_by_project(caller.scope)
    except PermissionDenied:
        return NOT_SIGNED_IN
    except Exception as error:
        if is_away(error):
            warn_away("WEBSOCKET_AUTHENTICATION", error)
            return None if answered.still_holds(caller) else AWAY
        logger.exception("WEBSOCKET_AUTHENTICATION fails, so the socket is closed.")
        return FAILED
    answered.note(caller)
    known = caller.user.is_authenticated, caller.user.pk
    is_same = user is not None and (user.is_authenticated, user.pk) == known
    return None if is_same else NOT_SIGNED_IN


async def _named_by_project(scope: Any) -> Any:
    """The user that the project's authentication finds in the handshake; None if it finds none."""
    path = get_settings().websocket_authentication
    if path is None:
        return None
    authenticate = _authentication(path)
    if inspect.iscoroutinefunction(authenticate):
        async with asyncio.timeout(HOOK_SECONDS):
            return await authenticate(scope)
    return await run_for(_handshake(scope), authenticate, scope)


def _handshake(scope: Any) -> str:
    """A follower's name for somebody not known yet, whose calls wait for nobody else's."""
    return f"handshake {id(scope)}"


@lru_cache(maxsize=8)
def _authentication(path: str) -> Callable[[Any], Any]:
    try:
        found: Callable[[Any], Any] = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"DURABLE_STATE: WEBSOCKET_AUTHENTICATION {path!r} cannot be used: {error}",
            "Name a function `authenticate(scope)` that returns a user or None.",
        ) from error
    return found
