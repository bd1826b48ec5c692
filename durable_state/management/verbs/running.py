"""``sync`` and ``run``: consuming in the foreground."""

from __future__ import annotations

import gc
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from durable_state import operations
from durable_state.consumer import run as consumer
from durable_state.management.progress import Progress
from durable_state.management.table import printable
from durable_state.models import Status

__all__ = ["define"]


def define(verb: Any) -> None:
    """Adds the verbs to the command's parser."""
    parser = verb("sync", sync, "Consumes one stream here and now, showing its progress.")
    parser.add_argument("name")
    parser.add_argument(
        "--until-up-to-date",
        action="store_true",
        help="end at the stream's tail instead of following it",
    )
    verb("run", run, "Consumes all streams, live, without Celery, until it is stopped.")


def sync(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    progress = Progress(sys.stderr)
    _spare_the_collector()
    try:
        consumer.sync(
            stream,
            until_up_to_date=options["until_up_to_date"],
            on_progress=progress,
            on_wait=progress.note,
        )
    finally:
        progress.close()
    done = operations.report(stream)
    if options["until_up_to_date"] and stream.status not in (Status.LIVE, Status.CLOSED):
        raise CommandError(
            f"Stopped after message {stream.ordinal:,} of {stream.name}, before its tail. Nothing is lost: the next run goes on there.",
            returncode=130,
        )
    # Nobody follows it any more, however lately it was live.
    standing = (
        f"Stopped following {done.name}"
        if done.status == Status.LIVE
        else f"{done.name} is {done.status.replace('-', ' ')}"
    )
    command.stdout.write(f"{standing}. {printable(str(done.account))}.")
    for misfit in done.misfits:
        command.stdout.write(command.style.WARNING(printable(misfit)))


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    command.stdout.write("Consuming all streams. Ctrl-C stops after the current batches.")
    _spare_the_collector()
    consumer.run_all(options["database"])
    command.stdout.write("Stopped.")


def _spare_the_collector() -> None:
    """What a process of ours has imported stays; looking for garbage in it again and again took a fifth of a catch-up's time."""
    if not gc.get_freeze_count():
        gc.freeze()
