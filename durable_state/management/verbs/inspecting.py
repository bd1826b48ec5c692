"""``status`` and ``verify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import is_aware, localtime
from django.utils.translation import override

from durable_state import operations
from durable_state.management.asking import actor
from durable_state.management.progress_line import ProgressLine
from durable_state.management.table import one_line, table
from durable_state.operations import Shown, StreamReport, Verification
from durable_state.operations.wording import span

__all__ = ["define"]


def define(verb: Any) -> None:
    """Adds the verbs to the command's parser."""
    parser = verb(
        "status",
        status,
        "Shows how the streams are doing; exit status 1 if one is stuck, 2 if it could not tell.",
        failure=2,
    )
    parser.add_argument("name", nargs="?", help="only this stream")
    parser.add_argument("--json", action="store_true", help="print a list of objects, for programs")

    parser = verb(
        "verify",
        verify,
        "Reads a stream again and compares it with its rows; exit status 1 if they differ, 2 if it"
        " could not compare.",
        failure=2,
    )
    parser.add_argument("name", help="the stream")
    parser.add_argument(
        "--json", action="store_true", help="print {type: {missing, extra, changed}}"
    )
    parser.add_argument(
        "--type",
        dest="entity_type",
        metavar="TYPE",
        help="with --key: show the history of one entity",
    )
    parser.add_argument("--key", help="the entity's key")


@override(None)  # in English, as the rest of the command
def status(command: BaseCommand, options: dict[str, Any]) -> None:
    using = options["database"]
    if options["name"] is None:
        found = list(operations.reports(using).values())
    else:
        found = [operations.report(operations.find_stream(options["name"], using))]
    if options["json"]:
        command.stdout.write(json.dumps([each.to_json() for each in found], indent=2))
    elif not found:
        command.stdout.write(
            "There are no streams yet; add one: manage.py durable_state add NAME URL"
        )
    else:
        _write_table(command, found)
    stuck = [each for each in found if each.stuck]
    if stuck:
        names = ", ".join(f"{each.name} ({one_line(each.why, 120)})" for each in stuck[:5])
        more = f" and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        raise CommandError(f"Stuck: {names}{more}.", returncode=1)


def _write_table(command: BaseCommand, found: list[StreamReport]) -> None:
    rows = [
        (
            each.name,
            each.status,
            span(each.lag_seconds),
            f"{each.ordinal:,}",
            f"{each.applied:,}",
            f"{each.parked:,}",
            f"{each.dead_letters:,}",
            f"{each.account.others:,}",
            f"{localtime(each.since) if is_aware(each.since) else each.since:%Y-%m-%d %H:%M:%S}",
        )
        for each in found
    ]
    heads, *lines = table(
        ("STREAM", "STATUS", "LAG", "MESSAGES", "APPLIED", "PARKED", "LETTERS", "OTHER", "SINCE"),
        rows,
        right=(2, 3, 4, 5, 6, 7),
    )

    command.stdout.write(command.style.MIGRATE_HEADING(heads))
    for each, line in zip(found, lines, strict=True):
        if each.stuck:
            line = command.style.ERROR(line)
        elif each.last_error or each.why:
            line = command.style.WARNING(line)
        command.stdout.write(line)
        for detail in _details(each):
            command.stdout.write(f"    {one_line(detail)}")


def _details(report: StreamReport) -> Iterator[str]:
    """Yields what is printed of a stream below its line in the table."""
    if report.account.others and report.status != Shown.UNMAPPED:  # there, `why` says it
        yield str(report.account)
    if report.replayed is not None:
        yield f"replayed: {report.replayed:,} of {report.ordinal:,} messages"
    if report.why or report.last_error:
        yield report.why or report.last_error
    if report.last_error_detail:
        yield report.last_error_detail
    if report.action:
        yield f"→ {report.action}"


def verify(command: BaseCommand, options: dict[str, Any]) -> None:
    if (options["entity_type"] is None) != (options["key"] is None):
        raise CommandError("--type and --key go together: they name one entity.", returncode=2)
    stream = operations.find_stream(options["name"], options["database"])
    progress = ProgressLine(sys.stderr)
    steps = {
        "on_folded": partial(progress.show, f"replaying {stream.name}", "message"),
        "on_compared": partial(progress.show, f"comparing {stream.name}", "row"),
    }
    try:
        if options["key"] is None:
            result = operations.verify_here(stream, actor=actor(), **steps)
        else:
            told = f"the history of one {options['entity_type']}"[:200]
            operations.record(stream.using, stream.name, "verify", actor(), told)
            result = operations.verify(
                stream, entity_type=options["entity_type"], key=options["key"], **steps
            )
    finally:
        progress.close()

    if options["json"]:
        command.stdout.write(json.dumps(result.to_json(), indent=2))
    else:
        _write_result(command, result, is_story=options["key"] is not None)
    if not result.equal:
        raise CommandError(
            f"The rows of {stream.name} differ from its stream:"
            f" manage.py durable_state reset {stream.name}",
            returncode=1,
        )


@override(None)
def _write_result(command: BaseCommand, result: Verification, *, is_story: bool) -> None:
    if not is_story:
        counts = [
            (name, each["missing"], each["extra"], each["changed"])
            for name, each in result.to_json().items()
        ]
        heads, *lines = table(("TYPE", "MISSING", "EXTRA", "CHANGED"), counts, right=(1, 2, 3))
        command.stdout.write("\n".join([command.style.MIGRATE_HEADING(heads), *lines]))
    for line in result.lines():
        command.stdout.write(one_line(line))

    if result.equal:
        command.stdout.write(
            f"The rows of {result.stream} equal its stream, up to message {result.ordinal:,}:"
            f" compared {result.compared}."
        )
        if not is_story:
            command.stdout.write(one_line(f"{result.account}."))
    for misfit in result.misfits:
        command.stdout.write(command.style.WARNING(one_line(misfit)))
