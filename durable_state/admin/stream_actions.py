"""The verbs of a stream as admin actions: each is explained, confirmed and reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from durable_state import operations
from durable_state.errors import DurableStateError
from durable_state.models import Stream
from durable_state.operations.wording import number

from .confirmation import LISTED, Consequence, Question, ask, back, confirmed
from .paging import COUNTED, at_most
from .visibility import OperatorAdmin, actor

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["STREAM_ACTIONS"]


class _Verb(NamedTuple):
    """What a verb asks, does and reports."""

    name: str
    label: _StrPromise
    question: Question
    effects: Callable[[Stream], list[str]]
    """Tells what it will do to one stream, in sentences."""
    run: Callable[[Stream, str, bool], object]
    """Does it to one stream: with the actor's name, and whether the checkbox was ticked."""
    done: str | Promise
    done_with_choice: str | Promise = ""
    """The report if the checkbox was ticked."""
    permission: str = "operate"


def _action(verb: _Verb) -> Callable[..., HttpResponse | None]:
    """The verb as an action: it explains itself first, and runs once the person has confirmed."""

    @admin.action(description=verb.label, permissions=[verb.permission])
    def ask_or_act(
        model_admin: OperatorAdmin, request: HttpRequest, queryset: QuerySet[Stream]
    ) -> HttpResponse | None:
        if confirmed(request):
            return _act(model_admin, request, queryset, verb)
        return _ask(model_admin, request, queryset, verb)

    ask_or_act.__name__ = verb.name  # by which a page asks for it
    return ask_or_act


def _ask(
    model_admin: OperatorAdmin, request: HttpRequest, queryset: QuerySet[Stream], verb: _Verb
) -> HttpResponse:
    count = queryset.count()
    consequences = [Consequence(each.name, verb.effects(each)) for each in queryset[:LISTED]]
    question = verb.question.about(
        consequences[0].name
        if len(consequences) == 1
        else ngettext("%(count)s stream", "%(count)s streams", count) % {"count": number(count)}
    )
    return ask(model_admin, request, verb.name, question, consequences, count=count)


def _act(
    model_admin: OperatorAdmin, request: HttpRequest, queryset: QuerySet[Stream], verb: _Verb
) -> HttpResponse | None:
    choice = verb.question.choice
    is_chosen = choice is not None and request.POST.get(choice[0]) == "on"
    names = []
    for stream in queryset:
        name = stream.name  # a removed stream has no row left
        try:
            verb.run(stream, actor(request), is_chosen)
        except DurableStateError as error:
            model_admin.message_user(request, str(error), messages.ERROR)
        else:
            names.append(name)
    if names:
        done = verb.done_with_choice if is_chosen else verb.done
        told = str(done) % {"names": _listed(names)}
        model_admin.message_user(request, told, messages.SUCCESS)
    return back(model_admin, request)


def _listed(names: list[str]) -> str:
    """Lists the first names, and how many more there are."""
    more = len(names) - LISTED
    listed = ", ".join(names[:LISTED])
    if more <= 0:
        return listed
    told = ngettext("%(names)s and %(count)s more", "%(names)s and %(count)s more", more)
    return told % {"names": listed, "count": number(more)}


def _pausing(stream: Stream) -> list[str]:
    return [
        _("Reading stops after the current batch; %(count)s messages were read.")
        % {"count": number(stream.ordinal)},
        _("Its rows stay as they are."),
    ]


def _resuming(stream: Stream) -> list[str]:
    was = [_("It stopped because: %(error)s") % {"error": stream.last_error}]
    return [
        *(was if stream.last_error else []),
        _("Reading continues at once, after message %(count)s.")
        % {"count": number(stream.ordinal)},
    ]


def _resetting(stream: Stream) -> list[str]:
    return [
        _("All %(count)s messages are read again, from the stream's start.")
        % {"count": number(stream.ordinal)},
        _(
            "The rows that are shown now are kept up to date meanwhile. Then one transaction"
            " replaces them; rows that stay keep their primary keys."
        ),
        _("A reset that is under way starts over. At its end, the counters start over, too."),
    ]


def _cancelling(stream: Stream) -> list[str]:
    return [
        _("What has been read again so far is dropped."),
        _("The rows stay, and follow the stream as before."),
    ]


def _removing(stream: Stream) -> list[str]:
    rows = [
        _told_rows(found[: COUNTED + 1].count(), mapping.model._meta.label)
        for mapping, found in operations.owned_rows(stream)
        if found.exists()
    ]
    report = operations.report(stream, count_to=COUNTED)
    counts = {"letters": at_most(report.dead_letters), "parked": at_most(report.parked)}
    return [
        _("Its rows are deleted: %(rows)s.") % {"rows": ", ".join(rows)}
        if rows
        else _("It has no rows."),
        _("So are its position, dead letters (%(letters)s) and parked changes (%(parked)s).")
        % counts,
        _("The stream on the server is not touched."),
    ]


def _told_rows(count: int, model: str) -> str:
    told = ngettext("%(count)s row of %(model)s", "%(count)s rows of %(model)s", count)
    return told % {"count": at_most(count), "model": model}


def _verifying(stream: Stream) -> list[str]:
    return [
        _("Its %(count)s messages are read again and compared with the rows; nothing is changed.")
        % {"count": number(stream.ordinal)},
        _(
            "A worker carries it out, which takes as long as a sync. The stream's page shows its"
            " progress, and keeps the result."
        ),
    ]


_VERBS = [
    _Verb(
        "pause",
        gettext_lazy("Pause"),
        Question(gettext_lazy("Pause %(name)s?"), gettext_lazy("Yes, pause")),
        _pausing,
        lambda stream, actor, _chosen: operations.pause(stream, actor=actor),
        gettext_lazy("Paused %(names)s. A worker that has it stops after its current batch."),
    ),
    _Verb(
        "resume",
        gettext_lazy("Resume"),
        Question(gettext_lazy("Resume %(name)s?"), gettext_lazy("Yes, resume")),
        _resuming,
        lambda stream, actor, _chosen: operations.resume(stream, actor=actor),
        gettext_lazy("Resumed %(names)s."),
    ),
    _Verb(
        "reset",
        gettext_lazy("Reset"),
        Question(gettext_lazy("Reset %(name)s?"), gettext_lazy("Yes, reset"), danger=True),
        _resetting,
        lambda stream, actor, _chosen: operations.reset(stream, actor=actor),
        gettext_lazy(
            "Reset %(names)s: it is read again from its start,"
            " and the old rows stay until that has caught up."
        ),
    ),
    _Verb(
        "cancel_reset",
        gettext_lazy("Cancel reset"),
        Question(
            gettext_lazy("Cancel the reset of %(name)s?"), gettext_lazy("Yes, cancel the reset")
        ),
        _cancelling,
        lambda stream, actor, _chosen: operations.cancel_reset(stream, actor=actor),
        gettext_lazy("Cancelled the reset of %(names)s."),
    ),
    _Verb(
        "verify",
        gettext_lazy("Verify"),
        Question(gettext_lazy("Verify %(name)s?"), gettext_lazy("Yes, verify")),
        _verifying,
        lambda stream, actor, _chosen: operations.ask_to_verify(stream, actor=actor),
        gettext_lazy(
            "Requested a verification of %(names)s. A worker carries it out; the stream's page"
            " shows its progress and result."
        ),
    ),
    _Verb(
        "remove",
        gettext_lazy("Remove"),
        Question(
            gettext_lazy("Remove %(name)s?"),
            gettext_lazy("Yes, remove"),
            danger=True,
            choice=("keep_rows", gettext_lazy("Keep the rows in their tables")),
        ),
        _removing,
        lambda stream, actor, keep: operations.remove(stream, actor=actor, keep_rows=keep),
        gettext_lazy("Removed %(names)s and its rows."),
        done_with_choice=gettext_lazy("Removed %(names)s; its rows stay."),
        permission="retire",
    ),
]

STREAM_ACTIONS = [_action(verb) for verb in _VERBS]
"""Pause, resume, reset, cancel a reset, verify and remove."""
