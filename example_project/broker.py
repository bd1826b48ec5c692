"""Celery's broker as files: kombu's filesystem transport, made safe for several processes.

kombu's own transport opens a message's file under its final name and writes it afterwards. A
reader that looks in between takes an empty message, and its worker dies of it. Here whatever can be
found under its name is whole: it was written under another name and renamed.

Why: decision 35.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote

from kombu.transport import filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t
from kombu.utils.json import dumps, loads

__all__ = ["Channel", "Transport"]


class Channel(filesystem.Channel):
    """Puts and takes messages, and binds queues, each as one rename.

    The options are kombu's: ``data_folder_in``, ``data_folder_out`` and ``control_folder``, which
    have to exist. ``store_processed`` has no effect.
    """

    # The stubs call this argument by two names.
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        # Names sort by time, so that messages are taken in the order in which they came.
        name = f"{time.monotonic_ns():020}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, payload)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Returns the oldest message of the queue. Raises: Empty."""
        folder = Path(self.data_folder_in)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(name for name in names if name.partition(".")[2] == f"{queue}.msg"):
            # Whoever renames the file has the message, and nobody else.
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue
            payload = loads(taken.read_bytes())
            taken.unlink()
            return payload
        raise Empty

    def get_table(self, exchange: str) -> list[Any]:
        """Returns the queues that are bound to the exchange."""
        try:
            table = loads(self._exchange_file(exchange).read_bytes())
        except FileNotFoundError:
            return []
        return [exchange_queue_t(*binding) for binding in table]

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        with self._changed_table(exchange) as table:
            binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
            if binding not in table:
                table.insert(0, binding)

    def _delete(
        self,
        queue: str,
        exchange: str,
        routing_key: str | None,
        pattern: str | None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._purge(queue)
        with self._changed_table(exchange) as table:
            binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
            if binding in table:
                table.remove(binding)

    @contextmanager
    def _changed_table(self, exchange: str) -> Iterator[list[Any]]:
        """Gives the exchange's table to be changed, while no other process changes it."""
        file = self._exchange_file(exchange)
        # A lock of its own: the table's file is another one after each change.
        with file.with_name(f"{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            table = self.get_table(exchange)
            before = list(table)
            yield table
            if table != before:
                _write_whole(file, table)

    def _exchange_file(self, exchange: str) -> Path:
        return Path(self.control_folder) / f"{quote(exchange, safe='')}.exchange"


class Transport(filesystem.Transport):
    """The transport of URLs that begin with ``files://``; the settings give it that name."""

    Channel = Channel
    global_state = virtual.BrokerState()
    driver_type = driver_name = "files"


def _write_whole(file: Path, content: Any) -> None:
    """Writes the file so that nobody ever sees a part of it."""
    unfinished = file.with_name(f".{uuid.uuid4()}.unfinished")
    try:
        unfinished.write_text(dumps(content))
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
