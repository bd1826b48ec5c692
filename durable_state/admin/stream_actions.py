"""The verbs of a stream as admin actions: each is explained, confirmed and reported."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from durable_state import operations
from durable_state.errors import DurableStateError
from durable_state.models import Stream

from .confirmation import LISTED, Consequence, Question, ask, back, confirmed
from .paging import COUNTED, at_most
from .visibility import OperatorAdmin, actor

__all__ = ["StreamActions"]


class StreamActions(OperatorAdmin):
    """Pause, resume, reset, cancel a reset, verify and remove."""

    actions = ["pause", "resume", "reset", "cancel_reset", "verify", "remove"]

    @admin.action(description=gettext_lazy("Pause"), permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Pause %(name)s?"), _("Yes, pause"))
            return self._ask(request, queryset, "pause", question, _pausing)
        return self._each(
            request,
            queryset,
            lambda each: operations.pause(each, actor=actor(request)),
            _("Paused %(names)s. A worker that has it stops after its current batch."),
        )

    @admin.action(description=gettext_lazy("Resume"), permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Resume %(name)s?"), _("Yes, resume"))
            return self._ask(request, queryset, "resume", question, _resuming)
        return self._each(
            request,
            queryset,
            lambda each: operations.resume(each, actor=actor(request)),
            _("Resumed %(names)s."),
        )

    @admin.action(description=gettext_lazy("Reset"), permissions=["operate"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Reset %(name)s?"), _("Yes, reset"), danger=True)
            return self._ask(request, queryset, "reset", question, _resetting)
        told = _(
            "Reset %(names)s: it is read again from its start,"
            " and the old rows stay until that has caught up."
        )
        return self._each(
            request, queryset, lambda each: operations.reset(each, actor=actor(request)), told
        )

    @admin.action(description=gettext_lazy("Cancel reset"), permissions=["operate"])
    def cancel_reset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Cancel the reset of %(name)s?"), _("Yes, cancel the reset"))
            return self._ask(request, queryset, "cancel_reset", question, _cancelling)
        return self._each(
            request,
            queryset,
            lambda each: operations.cancel_reset(each, actor=actor(request)),
            _("Cancelled the reset of %(names)s."),
        )

    @admin.action(description=gettext_lazy("Remove"), permissions=["retire"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(
                _("Remove %(name)s?"),
                _("Yes, remove"),
                danger=True,
                choice=("keep_rows", _("Keep the rows in their tables")),
            )
            return self._ask(request, queryset, "remove", question, _removing)
        keep = request.POST.get("keep_rows") == "on"
        told = (
            _("Removed %(names)s; its rows stay.") if keep else _("Removed %(names)s and its rows.")
        )
        return self._each(
            request,
            queryset,
            lambda each: operations.remove(each, actor=actor(request), keep_rows=keep),
            told,
        )

    @admin.action(description=gettext_lazy("Verify"), permissions=["operate"])
    def verify(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            question = Question(_("Verify %(name)s?"), _("Yes, verify"))
            return self._ask(request, queryset, "verify", question, _verifying)
        told = _(
            "Requested a verification of %(names)s. A worker carries it out; the stream's page"
            " shows its progress and result."
        )
        return self._each(
            request,
            queryset,
            lambda each: operations.ask_to_verify(each, actor=actor(request)),
            told,
        )

    def _ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[Stream],
        verb: str,
        question: Question,
        effects: Callable[[Stream], list[str]],
    ) -> HttpResponse:
        count = queryset.count()
        named = queryset[0].name if count == 1 else ngettext("%d stream", "%d streams", count)
        name = named % count if count != 1 else named
        consequences = [Consequence(each.name, effects(each)) for each in queryset[:LISTED]]
        return ask(self, request, verb, question.about(name), consequences, count=count)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Stream],
        run: Callable[[Stream], object],
        told: str,
    ) -> HttpResponse | None:
        done = []
        for stream in queryset:
            name = stream.name
            try:
                run(stream)
            except DurableStateError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                done.append(name)
        if done:
            self.message_user(request, told % {"names": ", ".join(done)}, messages.SUCCESS)
        return back(self, request)


def _pausing(stream: Stream) -> list[str]:
    return [
        _("Reading stops after the current batch; %(count)s messages were read.")
        % {"count": f"{stream.ordinal:,}"},
        _("Its rows stay as they are."),
    ]


def _resuming(stream: Stream) -> list[str]:
    was = [_("It stopped because: %(error)s") % {"error": stream.last_error}]
    return [
        *(was if stream.last_error else []),
        _("Reading continues at once, after message %(count)s.") % {"count": f"{stream.ordinal:,}"},
    ]


def _resetting(stream: Stream) -> list[str]:
    return [
        _("All %(count)s messages are read again, from the stream's start.")
        % {"count": f"{stream.ordinal:,}"},
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
        _("%(count)s rows of %(model)s")
        % {"count": at_most(found[: COUNTED + 1].count()), "model": mapping.model._meta.label}
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


def _verifying(stream: Stream) -> list[str]:
    return [
        _("Its %(count)s messages are read again and compared with the rows; nothing is changed.")
        % {"count": f"{stream.ordinal:,}"},
        _(
            "A worker carries it out, which takes as long as a sync. The stream's page shows its"
            " progress, and keeps the result."
        ),
    ]
