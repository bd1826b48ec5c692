"""Users of the admin, and what they may see."""

from __future__ import annotations

from typing import Any, Protocol

from django.test import Client

from durable_state.policy import StatePolicy

__all__ = ["OnlyPublic", "SignIn"]


class SignIn(Protocol):
    """Signs in a user with these permissions."""

    def __call__(self, *permissions: str) -> Client: ...


class OnlyPublic(StatePolicy):
    """Gives streams with "public" in their names, and rows with it in their texts, if they have
    any.
    """

    def streams(self, user: Any) -> Any:
        return super().streams(user).filter(name__startswith="public")

    def rows(self, user: Any, queryset: Any) -> Any:
        rows = super().rows(user, queryset)
        return rows.filter(text__startswith="public") if hasattr(rows.model, "text") else rows
