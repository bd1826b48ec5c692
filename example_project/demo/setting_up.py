"""What the demo does in Django: makes tables, streams, rooms and an admin, and compares the rows.

Import it after `django.setup()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command

from durable_state.models import Status, Stream
from durable_state.transport import append, create, open_client
from example_project.chat.rooms import make_rooms
from example_project.history.models import File
from example_project.history.repository import Tree
from example_project.station.events import timetable

from .processes import Failed

__all__ = ["differences", "prepare", "prepare_streams", "wait_until_up_to_date"]


async def prepare_streams() -> None:
    """Creates every stream on the server, and appends the timetable to the station's."""
    async with open_client(trust_env=False) as client:
        async for stream in Stream.objects.all():
            await create(client, stream.url)
            if stream.name == "station":
                await append(client, stream.url, timetable())


def prepare() -> Stream:
    """Makes the tables, the history stream, the rooms, and a user `admin` with password `admin`."""
    call_command("migrate", verbosity=0, interactive=False)
    User.objects.create_superuser("admin", "admin@example.org", "admin")
    history = Stream.objects.create(name="history", url=f"{settings.STREAM_SERVER}/history")
    Stream.objects.create(name="station", url=f"{settings.STREAM_SERVER}/station")
    make_rooms(settings.STREAM_SERVER)
    return history


def wait_until_up_to_date(
    name: str, messages: int, watch: Callable[[], None], patience: float = 90
) -> Stream:
    """Returns the stream as soon as so many messages of it are read and its tail is reached.

    ``watch`` is called again and again meanwhile, and may raise.
    Raises: Failed when the stream halts, or nothing moves for ``patience`` seconds.
    """
    moved, ordinal = time.monotonic(), -1
    while True:
        watch()
        stream = Stream.objects.get(name=name)
        if stream.ordinal >= messages and stream.status == Status.LIVE:
            return stream
        if stream.status in (Status.HALTED, Status.NEEDS_RESET):
            raise Failed(
                f"The stream {name} is {stream.get_status_display()}: "
                f"{stream.last_error} {stream.action}".rstrip()
            )
        if stream.ordinal != ordinal:
            moved, ordinal = time.monotonic(), stream.ordinal
        elif time.monotonic() - moved > patience:
            said = stream.last_error or "no error was reported; see the logs"
            raise Failed(
                f"The stream {name} has been at message {ordinal} of {messages} "
                f"for {patience:.0f} s: {said}"
            )
        time.sleep(0.1)


def differences(tree: Tree) -> list[str]:
    """Returns a line for each path whose row differs from the tree."""
    rows: Tree = {
        path: (mode, blob) for path, mode, blob in File.objects.values_list("path", "mode", "blob")
    }
    return [
        f"{path}: row {rows.get(path, 'is missing')}, git {tree.get(path, 'has none')}"
        for path in sorted(rows.keys() | tree.keys())
        if rows.get(path) != tree.get(path)
    ]
