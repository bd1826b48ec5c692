"""What a person sees in the admin: rows read-only, with verbs for those who may change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["OperatorAdmin", "actor"]


def actor(request: HttpRequest) -> str:
    """The name that audit entries of the admin carry."""
    return request.user.get_username()


class OperatorAdmin(ModelAdmin):
    """Rows that are looked at, and changed by verbs only.

    An action with ``permissions=["operate"]`` needs the change permission.
    """

    show_full_result_count = False
    lookups: frozenset[str] = frozenset()
    """What a list's address may filter by:
    Django would allow any column, and each of its letters.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.lookups

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._has("view", request) or self._has("change", request)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return self._has("change", request)

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return self._has("delete", request)

    def _has(self, action: str, request: HttpRequest) -> bool:
        return request.user.has_perm(
            f"{self.opts.app_label}.{get_permission_codename(action, self.opts)}"
        )
