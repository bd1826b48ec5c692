"""``sync`` and ``run``: consuming in the foreground."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils.translation import override

from durable_state import consumer, operations
from durable_state.management.asking import actor
from durable_state.management.notices import show_notices
from durable_state.management.progress_line import ProgressLine
from durable_state.management.reporter import NAMED_STREAMS, Reporter
from durable_state.management.table import one_line
from durable_state.models import FAILING, Status, Stream
from durable_state.operations import StreamReport
from durable_state.operations.wording import counted
from durable_state.telemetry import serve_counters

__all__ = ["define"]


def define(verb: Any) -> None:
    """Adds the verbs to the command's parser."""
    parser = verb("sync", sync, "Reads one stream in the foreground, and shows its progress.")
    parser.add_argument("name", help="the stream")
    parser.add_argument(
        "--until-up-to-date",
        action="store_true",
        help="stop at the stream's end instead of following it",
    )
    parser = verb("run", run, "Follows all streams, without Celery, until you stop it.")
    parser.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        help="serve this process's metrics to Prometheus, on 127.0.0.1 unless you name a host",
    )


def sync(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    progress = ProgressLine(sys.stderr)
    up_to = "up to the tail" if options["until_up_to_date"] else "following it"
    operations.record_again(stream.using, stream.name, "sync", actor(), up_to)
    if stream.status in FAILING:  # a failure that goes on is not logged again
        progress.note(f"{stream.name}: {stream.last_error} Trying again.")
    watcher = consumer.Watcher(
        progressed=progress, switching=progress.switching, waits=progress.note
    )
    try:
        notices = show_notices(lambda text, level: progress.note(text))
        with notices, _with_rare_collections():
            consumer.sync(stream, until_up_to_date=options["until_up_to_date"], watcher=watcher)
    finally:
        progress.close()

    with override(None):  # in English, as the rest of the command
        done = operations.report(stream)
        account = str(done.account)
    if options["until_up_to_date"] and stream.status not in (Status.LIVE, Status.CLOSED):
        raise CommandError(
            f"Stopped after message {stream.ordinal:,} of {stream.name}, before its tail."
            " Nothing is lost: the next run continues from there.",
            returncode=130,
        )

    command.stdout.write(f"{_ending(done)}. {one_line(account)}.")
    for misfit in done.misfits:
        command.stdout.write(command.style.WARNING(one_line(misfit)))
    if done.stuck and done.action:
        command.stdout.write(f"→ {one_line(done.action)}")


def _ending(done: StreamReport) -> str:
    """Describes how a sync has left its stream."""
    if done.status == Status.LIVE:
        return f"Stopped following {done.name}"  # however recently it became live
    words = done.status.replace("-", " ")
    return f"{done.name} {_STATUS_PHRASES.get(done.status, f'is {words}')}"


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["metrics"]:
        command.stdout.write(f"Metrics: {serve_counters(options['metrics'])}")
    _list_streams(command, options["database"])
    reporter = Reporter(command, options["verbosity"])
    watcher = consumer.Watcher(
        began=reporter.began,
        ended=reporter.ended,
        let_go=reporter.let_go,
        committed=reporter.committed,
        progressed=reporter.progressed,
    )
    verifying = operations.verifying_on_request(options["database"])
    with show_notices(reporter.notice), verifying, _with_rare_collections():
        consumer.run_all(options["database"], watcher)
    command.stdout.write("Stopped.")


def _list_streams(command: BaseCommand, using: str) -> None:
    """Prints how many streams there are, and which of them are not consumed here, and why."""
    streams = Stream.objects.using(using)
    count = streams.count()
    command.stdout.write(
        f"Consuming {counted(count, 'stream')}. Ctrl-C stops after the current batches."
    )
    if not count:
        command.stdout.write("Waiting for one: manage.py durable_state add NAME URL")

    is_told = Q(paused=True) | Q(status__in=[*_AT_REST, *FAILING])
    for which in (streams.filter(is_told), streams.filter(~is_told, lease__seat__isnull=False)):
        pks = which.order_by("name").values_list("pk", flat=True)
        with override(None):
            named = operations.reports(using, pks=pks[:NAMED_STREAMS]).values()
        for each in named:
            _describe(command, each)
        if (more := which.count() - NAMED_STREAMS) > 0:
            command.stdout.write(f"and {more:,} more: manage.py durable_state status")
    command.stdout.flush()


def _describe(command: BaseCommand, found: StreamReport) -> None:
    if found.holder:
        command.stdout.write(f"{found.name}: consumed by {one_line(found.holder)}")
    elif found.status in ("paused", *_AT_REST, *FAILING):
        status, why = found.status.replace("-", " "), found.why or found.last_error
        told = " · ".join(filter(None, (status, why, found.action)))
        command.stdout.write(f"{found.name}: {one_line(told)}")


_STATUS_PHRASES = {"needs-reset": "needs a reset", "snapshot-open": "has an open snapshot"}
"""For statuses that do not read well after ``is``."""

_AT_REST = (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET)


@contextmanager
def _with_rare_collections() -> Iterator[None]:
    """Has Python collect garbage a tenth as often, and never in what was imported, in the block.

    Searching imported modules again and again took a fifth of a catch-up's time. Searching what a
    thousand streams keep took 0.2 s every few seconds, in which nothing was committed. A program
    that calls the command has its collector back afterwards.
    """
    if gc.get_freeze_count():
        yield
        return
    young, middle, old = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(young, middle, 10 * old)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
        gc.unfreeze()
