"""``sync`` and ``run``: consuming in the foreground."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from durable_state import consumer, operations
from durable_state.management.asking import actor
from durable_state.management.notices import show_notices
from durable_state.management.progress_line import ProgressLine
from durable_state.management.reporter import NAMED, Reporter
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
        with notices, _sparing_the_collector():
            consumer.sync(stream, until_up_to_date=options["until_up_to_date"], watcher=watcher)
    finally:
        progress.close()

    done = operations.report(stream)
    if options["until_up_to_date"] and stream.status not in (Status.LIVE, Status.CLOSED):
        raise CommandError(
            f"Stopped after message {stream.ordinal:,} of {stream.name}, before its tail."
            " Nothing is lost: the next run continues from there.",
            returncode=130,
        )

    command.stdout.write(f"{_ending(done)}. {one_line(str(done.account))}.")
    for misfit in done.misfits:
        command.stdout.write(command.style.WARNING(one_line(misfit)))
    if done.stuck and done.action:
        command.stdout.write(f"→ {one_line(done.action)}")


def _ending(done: StreamReport) -> str:
    """How a sync has left its stream."""
    if done.status == Status.LIVE:
        return f"Stopped following {done.name}"  # however lately it was live
    words = done.status.replace("-", " ")
    return f"{done.name} {_SAID.get(done.status, f'is {words}')}"


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["metrics"]:
        command.stdout.write(f"Metrics: {serve_counters(options['metrics'])}")
    _say_what_there_is(command, options["database"])
    reporter = Reporter(command, options["verbosity"])
    watcher = consumer.Watcher(
        began=reporter.began,
        ended=reporter.ended,
        let_go=reporter.let_go,
        committed=reporter.committed,
        progressed=reporter.progressed,
    )
    verifying = operations.verifying_on_request(options["database"])
    with show_notices(reporter.notice), verifying, _sparing_the_collector():
        consumer.run_all(options["database"], watcher)
    command.stdout.write("Stopped.")


def _say_what_there_is(command: BaseCommand, using: str) -> None:
    """Which streams are going to be consumed, and which are not, and why; of many, the first."""
    streams = Stream.objects.using(using)
    count = streams.count()
    command.stdout.write(
        f"Consuming {counted(count, 'stream')}. Ctrl-C stops after the current batches."
    )
    if not count:
        command.stdout.write("Waiting for one: durable_state add NAME URL")

    is_told = Q(paused=True) | Q(status__in=[*_AT_REST, *FAILING])
    for which in (streams.filter(is_told), streams.filter(~is_told, lease__seat__isnull=False)):
        pks = which.order_by("name").values_list("pk", flat=True)
        for each in operations.reports(using, pks=pks[:NAMED]).values():
            _say_why(command, each)
        if (more := which.count() - NAMED) > 0:
            command.stdout.write(f"and {more:,} more: durable_state status")
    command.stdout.flush()


def _say_why(command: BaseCommand, found: StreamReport) -> None:
    if found.holder:
        command.stdout.write(f"{found.name}: consumed by {one_line(found.holder)}")
    elif found.status in ("paused", *_AT_REST, *FAILING):
        told = " · ".join(filter(None, (found.status.replace("-", " "), found.why, found.action)))
        command.stdout.write(f"{found.name}: {one_line(told)}")


_SAID = {"needs-reset": "needs a reset", "snapshot-open": "has an open snapshot"}
"""What ``is`` and the status would not say in English."""

_AT_REST = (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET)


@contextmanager
def _sparing_the_collector() -> Iterator[None]:
    """What a process of ours has imported stays;
    looking for garbage in it again and again took a fifth of a catch-up's time.

    A thousand streams stay too: to look through all that they have took 0.2 s, in which nothing is
    committed, every few seconds. It is done a tenth as often. A program that calls the command has
    its collector back afterwards.
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
