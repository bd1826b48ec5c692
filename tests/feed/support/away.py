"""A PostgreSQL that a test can take away from everybody in its process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from durable_state import StatePolicy
from durable_state.models import Stream

from .proxy import Proxy

__all__ = ["Away", "OnPostgres", "postgres_behind_a_proxy"]


class OnPostgres(StatePolicy):
    """Everybody reads the streams in PostgreSQL, the whole of them."""

    def streams(self, user: Any) -> QuerySet[Stream]:
        """All of them there."""
        return Stream.objects.using("postgres")

    def rows(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """All of them."""
        return queryset


class Away:
    """Cuts the way to the database, and mends it; for threads and coroutines alike."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop

    def begin(self) -> None:
        """Every connection breaks, and none is made any more."""
        self._run(self._proxy.cut())

    def end(self) -> None:
        """It can be reached again."""
        self._run(self._proxy.start())

    def _run(self, call: Any) -> None:
        asyncio.run_coroutine_threadsafe(call, self._loop).result(10)


@contextlib.contextmanager
def postgres_behind_a_proxy() -> Iterator[Away]:
    """New connections to "postgres" go through a proxy, which runs in a thread of its own."""
    settings: dict[str, Any] = connections.settings["postgres"]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = Proxy(settings["HOST"] or "127.0.0.1", int(settings["PORT"] or 5432))
    away = Away(proxy, loop)
    away.end()
    own = settings["HOST"], settings["PORT"]
    connections["postgres"].close()
    settings["HOST"], settings["PORT"] = "127.0.0.1", proxy.port
    try:
        yield away
    finally:
        settings["HOST"], settings["PORT"] = own
        connections["postgres"].close()
        away.begin()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
