"""Streams with doorbells on the reference server, and seats that read them when they ring."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import httpx
from django.db import connections

from durable_state import operations
from durable_state.consumer import consume_slice
from durable_state.models import Doorbell, Lease
from tests.consumer.support.consuming import wait_until
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer

__all__ = ["Add", "Rung", "seated"]

_numbers = count()


class Rung:
    """A stream that is live by a doorbell, and what its server knows about it."""

    def __init__(self, server: StreamServer, using: str, live: str) -> None:
        self.using = using
        self.remote = RemoteStream(server.stream("rung"))
        self.stream = operations.add(
            f"d{next(_numbers)}", self.remote.url, actor="test", live=live, using=using
        )

    @property
    def doorbell(self) -> Doorbell:
        """The current row."""
        return Doorbell.objects.using(self.using).get(pk=self.stream.pk)

    def subscription_url(self) -> str:
        """The URL of the subscription on its server."""
        root = self.remote.url.rpartition("/")[0]
        return f"{root}/__ds/subscriptions/{self.doorbell.subscription}"

    def forget_at_server(self) -> None:
        """Makes the server forget the subscription, as one does that is restored from a backup."""
        httpx.delete(self.subscription_url(), timeout=10).raise_for_status()

    def is_acknowledged(self) -> bool:
        """Whether the server's cursor is at the stream's position."""
        self.stream.refresh_from_db()
        answer = httpx.get(self.subscription_url(), timeout=10)
        answer.raise_for_status()
        (link,) = answer.json()["streams"]
        return bool(link["acked_offset"] == self.stream.offset)

    def is_read(self) -> bool:
        """Whether everything that was ever appended is committed."""
        self.stream.refresh_from_db()
        return self.stream.ordinal == len(self.remote.items)

    def is_at_rest(self) -> bool:
        """Whether nobody holds it, and nobody is needed."""
        held = Lease.objects.using(self.using).filter(pk=self.stream.pk, seat__isnull=False)
        doorbell = self.doorbell
        return not doorbell.is_rung and doorbell.confirmed_at is not None and not held.exists()

    def wait_until_at_rest(self) -> None:
        """Waits until it is read to its tail, and let go."""
        wait_until(lambda: self.is_read() and self.is_at_rest())


Add = Callable[..., Rung]


@contextmanager
def seated(using: str) -> Iterator[None]:
    """A worker fills a seat while the block runs, as soon as one is needed."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                consume_slice(using, stop.is_set)
                stop.wait(0.1)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work, name="seated", daemon=True)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join(20)
        assert not worker.is_alive()
