"""The page between an action and its effect: what will happen, to what, and one button."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise

if TYPE_CHECKING:
    from .visibility import OperatorAdmin

__all__ = ["LISTED", "Consequence", "Question", "ask", "back", "confirmed"]

LISTED = 50
"""How many objects a page explains one by one."""


class Question(NamedTuple):
    """What a page asks, and what its buttons say."""

    title: str | Promise
    """With a place for ``%(name)s``."""
    button: str | Promise
    danger: bool = False
    choice: tuple[str, str | Promise] | None = None
    """The (name, label) of a checkbox."""

    def about(self, name: str) -> Question:
        """Returns the question with ``%(name)s`` filled in."""
        return self._replace(title=str(self.title) % {"name": name})


class Consequence(NamedTuple):
    """What will happen to one object, or to several alike."""

    name: str
    effects: Sequence[str | Promise]
    things: Sequence[str] = ()
    """Explains several objects one by one, at most ``LISTED`` of them."""


def confirmed(request: HttpRequest) -> bool:
    """Whether the person has seen the page and pressed its button."""
    return request.POST.get("confirmed") == "yes"


def ask(
    model_admin: OperatorAdmin,
    request: HttpRequest,
    verb: str,
    question: Question,
    consequences: Sequence[Consequence],
    *,
    count: int,
    listed: int | None = None,
) -> HttpResponse:
    """The page that asks for confirmation of ``verb``, and then posts the same action again.

    ``count`` is how many objects it affects, ``listed`` how many of them the page names; None: as
    many as there are ``consequences``.
    """
    more = count - (len(consequences) if listed is None else listed)
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "title": question.title,
        "action": verb,
        "consequences": consequences,
        "more": max(more, 0),
        "button": question.button,
        "danger": question.danger,
        "choice": question.choice,
        "back_url": _page(model_admin, request) or request.get_full_path(),
        "checkbox": ACTION_CHECKBOX_NAME,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "select_across": request.POST.get("select_across", "0"),
        "from_page": request.POST.get("from_page", ""),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "durable_state/admin/confirm.html", context)


def back(model_admin: OperatorAdmin, request: HttpRequest) -> HttpResponse | None:
    """Returns to the page of the object where the action began; None returns to the list."""
    url = _page(model_admin, request)
    return HttpResponseRedirect(url) if url else None


def _page(model_admin: OperatorAdmin, request: HttpRequest) -> str:
    """The URL of the object's page where the action began, or of the list if the object is gone.

    Empty if the action began in the list.
    """
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    if request.POST.get("from_page") != "yes" or len(selected) != 1:
        return ""

    opts = model_admin.opts
    page = f"{model_admin.admin_site.name}:{opts.app_label}_{opts.model_name}"
    if model_admin.get_queryset(request).filter(pk=selected[0]).exists():
        return reverse(f"{page}_change", args=selected)
    return reverse(f"{page}_changelist")
