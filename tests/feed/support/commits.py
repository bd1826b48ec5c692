"""Commits as the consumer makes them, without a consumer: rows, feed entry and revision in one
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone

from durable_state.feed import FeedTxid, LoggedChange, compose, ring, write
from durable_state.models import Status, Stream
from tests.app.models import Message, Setting

__all__ = ["commit", "commit_and_ring", "make_stream", "message", "shown"]

Changes = dict[tuple[str, str], Any]


def make_stream(name: str = "chat", using: str = "default") -> Stream:
    """A stream that nobody consumes."""
    return Stream.objects.using(using).create(name=name, url="http://127.0.0.1:1/x")


def commit(
    stream: Stream,
    changes: Changes,
    *,
    txids: Sequence[str | FeedTxid] = (),
    up_to_date: bool = True,
    snapshot: bool = False,
    tell: Sequence[LoggedChange] = (),
    status: str | None = None,
) -> tuple[int, bytes]:
    """Commits `changes`, (type, key) to value or None for a delete; returns the revision and what
    the bell carries.

    A txid that is a text belongs to all of the changes.
    """
    using = stream.using
    with transaction.atomic(using=using):
        held = Stream.objects.using(using).select_for_update().get(pk=stream.pk)
        for (entity_type, key), value in changes.items():
            rows: Any = (Message if entity_type == "message" else Setting).objects.using(using)
            scope = {"room": held.name} if entity_type == "message" else {"stream": held}
            if value is None:
                rows.filter(**scope, key=key).delete()
            elif entity_type == "message":
                rows.update_or_create(
                    **scope,
                    key=key,
                    defaults={
                        "text": value["text"],
                        "likes": value["likes"],
                        "edited": value["isEdited"],
                    },
                )
            else:
                rows.update_or_create(**scope, key=key, defaults={"data": value})
        held.revision += 1
        held.status = status or (Status.LIVE if up_to_date else Status.CATCHING_UP)
        held.up_to_date_at = timezone.now()
        held.save()
        entries = [
            LoggedChange(*name, "delete" if value is None else "update")
            for name, value in changes.items()
        ] + list(tell)
        told: list[FeedTxid] = []
        for txid in txids:
            if isinstance(txid, FeedTxid):
                told.append(txid)
            else:
                told += [FeedTxid(txid, *entity) for entity in changes]
        entry = compose(
            held, held.revision, None if snapshot else entries, txids=told, up_to_date=up_to_date
        )
        write(held, entry)
        Stream.objects.using(using).filter(pk=held.pk).update(**entry.stream_columns)
    return held.revision, entry.payload


async def commit_and_ring(stream: Stream, changes: Changes, **details: Any) -> int:
    """The same from a coroutine, and the bell after it."""
    revision, payload = await sync_to_async(commit)(stream, changes, **details)
    closed = details.get("status") == Status.CLOSED
    await ring(stream.name, stream.pk, revision, stream.using, payload, closed=closed)
    return revision


def message(text: str, likes: int | None = None) -> dict[str, Any]:
    """The value of a message."""
    return {"text": text, "likes": likes, "isEdited": False}


def shown(stream: Stream) -> Changes:
    """The stream's rows in the tables."""
    using = stream.using
    state: Changes = {
        ("message", row.key): {"text": row.text, "likes": row.likes, "isEdited": row.edited}
        for row in Message.objects.using(using).filter(room=stream.name)
    }
    state |= {
        ("setting", row.key): row.data for row in Setting.objects.using(using).filter(stream=stream)
    }
    return state
