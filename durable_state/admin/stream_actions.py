"""The verbs of a stream as admin actions: each is explained, confirmed and reported."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from durable_state import operations
from durable_state.errors import DurableStateError
from durable_state.models import Stream

from .confirmation import LISTED, Consequence, ask, back, confirmed
from .visibility import OperatorAdmin, actor

__all__ = ["StreamActions"]


class StreamActions(OperatorAdmin):
    """Pause, resume, reset, verify and remove."""

    actions = ["pause", "resume", "reset", "verify", "remove"]

    @admin.action(description="Pause", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(request, queryset, "pause", _pausing)
        return self._each(
            request,
            queryset,
            lambda each: operations.pause(each, actor=actor(request)),
            "Paused {}.",
        )

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(request, queryset, "resume", _resuming)
        return self._each(
            request,
            queryset,
            lambda each: operations.resume(each, actor=actor(request)),
            "Resumed {}.",
        )

    @admin.action(description="Reset", permissions=["operate"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(request, queryset, "reset", _resetting, danger=True)
        told = (
            "Reset {}: it is folded again from its start,"
            " and the rows of before are shown until it has caught up."
        )
        return self._each(
            request, queryset, lambda each: operations.reset(each, actor=actor(request)), told
        )

    @admin.action(description="Remove", permissions=["retire"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            choice = ("keep_rows", "Keep the rows in their tables")
            return self._ask(request, queryset, "remove", _removing, danger=True, choice=choice)
        keep = request.POST.get("keep_rows") == "on"
        told = "Removed {}; its rows stay." if keep else "Removed {} and its rows."
        return self._each(
            request,
            queryset,
            lambda each: operations.remove(each, actor=actor(request), keep_rows=keep),
            told,
        )

    @admin.action(description="Verify", permissions=["operate"])
    def verify(self, request: HttpRequest, queryset: QuerySet[Stream]) -> HttpResponse | None:
        if not confirmed(request):
            return self._ask(request, queryset, "verify", _verifying)
        told = (
            "Asked to verify {}: a worker carries it out, and the stream's page shows how far it is"
            " and what it finds."
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
        effects: Callable[[Stream], list[str]],
        danger: bool = False,
        choice: tuple[str, str] | None = None,
    ) -> HttpResponse:
        count = queryset.count()
        name = queryset[0].name if count == 1 else f"{count} streams"
        consequences = [Consequence(each.name, effects(each)) for each in queryset[:LISTED]]
        return ask(
            self, request, verb, name, consequences, count=count, danger=danger, choice=choice
        )

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
            self.message_user(request, told.format(", ".join(done)), messages.SUCCESS)
        return back(self, request)


def _pausing(stream: Stream) -> list[str]:
    return [
        f"Consuming stops after the current batch; it has read {stream.ordinal:,} messages.",
        "Its rows stay as they are.",
    ]


def _resuming(stream: Stream) -> list[str]:
    was = [f"It stopped because: {stream.last_error}"] if stream.last_error else []
    return [*was, f"Consuming goes on at once, after message {stream.ordinal:,}."]


def _resetting(stream: Stream) -> list[str]:
    return [
        f"All {stream.ordinal:,} messages are read and folded again, from the stream's start.",
        (
            "The rows that are shown now go on being kept up to date, until one transaction"
            " switches to the new ones; rows that return keep their primary keys."
        ),
        (
            "A reset that is under way begins anew;"
            " the counters are the new fold's from the switch on."
        ),
    ]


def _removing(stream: Stream) -> list[str]:
    rows = [
        f"{count:,} rows of {mapping.model._meta.label}"
        for mapping, found in operations.owned_rows(stream)
        if (count := found.count())
    ]
    letters, parked = stream.dead_letters.count(), stream.parked_changes.count()
    return [
        f"Its rows are deleted: {', '.join(rows)}." if rows else "It has no rows.",
        f"Its position, dead letters ({letters:,}) and parked changes ({parked:,}) go with it.",
        "The remote stream is not touched.",
    ]


def _verifying(stream: Stream) -> list[str]:
    return [
        (
            f"Its {stream.ordinal:,} messages are read again and folded beside the rows;"
            " nothing is changed."
        ),
        (
            "A worker carries it out, which takes as long as a sync; the stream's page shows how"
            " far it is, and keeps the result."
        ),
    ]
