"""Code that a project writes, type-checked by `make check`; it is not run."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models

from durable_state import EntityChange, EntityMapping, StatePolicy, camel_case, register
from durable_state.admin import SyncedModelAdmin
from durable_state.models import DeadLetter, ParkedChange, Stream
from durable_state.signals import changes_committed
from durable_state.testing import Applied, apply
from tests.app.models import Message


class OneMapping(EntityMapping):
    """Everything that a mapping may set."""

    model = Message
    key_field = "key"
    fields = camel_case("text") | {"likes": "likeCount"}
    stream_field = "room"
    streams = ["chat-*"]
    update_mode = "merge"
    version = 2

    def prepare(self, change: EntityChange) -> dict[str, Any] | None:
        raw = super().prepare(change)
        return None if raw is None or change.operation == "upsert" else raw | {"text": change.key}

    def represent(self, row: models.Model) -> Any:
        return super().represent(row)


registered: type[OneMapping] = register("message")(OneMapping)


class ListMapping(EntityMapping):
    """``fields`` as a list, and all of them."""

    model = Message
    key_field = "key"
    fields = ["text"]


class AllMapping(EntityMapping):
    """``fields`` as the word, and the model by its label."""

    model = "app.Message"
    key_field = "key"
    fields = "__all__"


class Policy(StatePolicy):
    """A policy of the project's own."""

    def streams(self, user: AbstractBaseUser | AnonymousUser) -> models.QuerySet[Stream]:
        return super().streams(user).filter(name__startswith="public-")

    def rows(
        self, user: AbstractBaseUser | AnonymousUser, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        return queryset.exclude(text="")


class MessageAdmin(SyncedModelAdmin):
    """The admin of a synced model."""

    list_display = ("key", "text")


def receive(
    sender: type[models.Model],
    stream: str,
    revision: int,
    upserted: list[str] | None,
    **kwargs: Any,
) -> None:
    """A receiver of the signal."""


changes_committed.connect(receive, sender=Message)


def use() -> tuple[int, int, int]:
    """The models and the testing helper."""
    stream: Stream = Stream.objects.create(name="chat", url="https://streams.example.org/chat")
    letters: models.QuerySet[DeadLetter] = DeadLetter.objects.filter(stream=stream)
    parked: ParkedChange | None = ParkedChange.objects.filter(stream=stream).first()
    done: Applied = apply(
        "chat",
        [{"type": "message", "key": "1", "headers": {"operation": "delete"}}],
        using="default",
    )
    assert letters is not None
    assert parked is None
    return done.applied, done.parked, done.dead_letters
