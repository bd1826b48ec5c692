"""The page between an action and its effect: what will happen, to what, and one button."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

if TYPE_CHECKING:
    from .visibility import OperatorAdmin

__all__ = ["LISTED", "Consequence", "ask", "back", "confirmed"]

LISTED = 50
"""Things that a page explains one by one, at most."""


class Consequence(NamedTuple):
    """What will happen to one thing."""

    name: str
    effects: Sequence[str]


def confirmed(request: HttpRequest) -> bool:
    """Whether the person has seen the page and pressed its button."""
    return request.POST.get("confirmed") == "yes"


def ask(
    model_admin: OperatorAdmin,
    request: HttpRequest,
    verb: str,
    name: str,
    consequences: Sequence[Consequence],
    *,
    count: int,
    danger: bool = False,
    choice: tuple[str, str] | None = None,
) -> HttpResponse:
    """The page that asks whether ``verb`` is meant, and posts the same action again.

    ``name`` says of what, ``count`` how many that are, also where ``consequences`` are of the first
    ``LISTED`` only. ``choice`` is the (name, label) of a checkbox on the page.
    """
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "title": f"{verb.title()} {name}?",
        "action": verb,
        "consequences": consequences,
        "more": max(count - len(consequences), 0),
        "button": f"Yes, {verb}",
        "danger": danger,
        "choice": choice,
        "checkbox": ACTION_CHECKBOX_NAME,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "select_across": request.POST.get("select_across", "0"),
        "from_page": request.POST.get("from_page", ""),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "durable_state/admin/confirm.html", context)


def back(model_admin: OperatorAdmin, request: HttpRequest) -> HttpResponse | None:
    """Where an action that began on one object's page returns to; None returns to the list."""
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if request.POST.get("from_page") != "yes" or len(selected) != 1:
        return None

    opts = model_admin.opts
    page = f"{model_admin.admin_site.name}:{opts.app_label}_{opts.model_name}"
    if model_admin.get_queryset(request).filter(pk=selected[0]).exists():
        return HttpResponseRedirect(reverse(f"{page}_change", args=selected))
    return HttpResponseRedirect(reverse(f"{page}_changelist"))
