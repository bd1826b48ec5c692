"""E020, E021, E028: the dict ``DURABLE_STATE``, and what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.utils.module_loading import import_string

import durable_state
from durable_state.conf import load
from durable_state.errors import ConfigurationError
from durable_state.protocol.signatures import check_library

__all__ = ["check_settings"]


def check_settings(raw: Any = None) -> list[checks.CheckMessage]:
    """Returns what is wrong with the settings (by default the project's). Never raises."""
    if raw is None:
        raw = getattr(django_settings, "DURABLE_STATE", {})
    try:
        settings = load(raw)
    except ConfigurationError as error:
        return [checks.Error(error.message, error.action, id="durable_state.E020")]
    return [
        *_check_headers(settings.headers),
        *_check_policy(settings.policy),
        *_check_websocket_authentication(settings.websocket_authentication),
        *_check_webhooks(settings.webhook_url),
        *_check_slice(settings.slice_seconds),
    ]


def _check_headers(path: str | None) -> Iterator[checks.CheckMessage]:
    if path is None:
        return
    found, problem = _import(path)
    problem = problem or _calling_problem(found, "a stream")
    if problem is None and inspect.iscoroutinefunction(found):
        problem = "is a coroutine function"
    if problem is not None:
        yield _path_error(
            "HEADERS", path, problem, "Name a function `headers(stream)` that returns a dict."
        )


def _check_websocket_authentication(path: str | None) -> Iterator[checks.CheckMessage]:
    if path is None:
        return
    found, problem = _import(path)
    problem = problem or _calling_problem(found, "a scope")
    if problem is not None:
        yield _path_error(
            "WEBSOCKET_AUTHENTICATION",
            path,
            problem,
            "Name a function `authenticate(scope)` that returns a user or None.",
        )


def _calling_problem(found: Any, argument: str) -> str | None:
    """Returns why it cannot be called with one argument, or None if it can."""
    if not callable(found):
        return f"is {type(found).__name__}, which cannot be called"
    try:
        inspect.signature(found).bind(object())
    except TypeError:
        return f"cannot be called with {argument} alone"
    except ValueError:
        pass  # written in C: it has no signature
    return None


def _check_policy(path: str) -> Iterator[checks.CheckMessage]:
    found, problem = _import(path)
    if problem is None and not (
        isinstance(found, type) and issubclass(found, durable_state.StatePolicy)
    ):
        problem = "is not a StatePolicy class"
    if problem is not None:
        yield _path_error("POLICY", path, problem, "Name a subclass of durable_state.StatePolicy.")


def _check_slice(seconds: float) -> Iterator[checks.CheckMessage]:
    """W029: the broker would take a running task for lost, and deliver it again."""
    options = getattr(django_settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {})
    patience = options.get("visibility_timeout")
    if patience is None or seconds < patience:
        return
    yield checks.Warning(
        f"DURABLE_STATE: SLICE_SECONDS is {seconds:g}, and the broker delivers a task again after"
        f" {patience:g} s (CELERY_BROKER_TRANSPORT_OPTIONS).",
        "Shorten SLICE_SECONDS, or have the broker wait longer.",
        id="durable_state.W029",
    )


def _check_webhooks(url: str | None) -> Iterator[checks.CheckMessage]:
    if url is None:
        return
    try:
        check_library()
    except ConfigurationError as error:
        yield checks.Error(
            f"DURABLE_STATE: WEBHOOK_URL is set. {error.message}",
            error.action,
            id="durable_state.E028",
        )


def _import(path: str) -> tuple[Any, str | None]:
    try:
        return import_string(path), None
    except Exception as error:  # a module may raise anything when it is imported
        return None, f"cannot be imported: {type(error).__name__}: {error}"


def _path_error(key: str, path: str, problem: str, hint: str) -> checks.Error:
    return checks.Error(f"DURABLE_STATE: {key} {path!r} {problem}.", hint, id="durable_state.E021")
