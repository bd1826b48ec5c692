"""``add``, ``edit``, ``pause``, ``resume``, ``reset``, ``remove``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from durable_state import operations
from durable_state.conf import get_settings
from durable_state.management.asking import actor, confirm
from durable_state.management.table import one_line
from durable_state.models import Live, Stream
from durable_state.operations.wording import counted
from durable_state.protocol.url import mask_query

__all__ = ["define"]

_WHICH = "the stream"


def define(verb: Any) -> None:
    """Adds the verbs to the command's parser."""
    parser = verb("add", add, "Adds a stream; workers begin to read it.")
    parser.add_argument("name", help="1 to 100 of A-Z a-z 0-9 . _ -")
    parser.add_argument("url", help="the stream's address: http:// or https://")
    parser.add_argument(
        "--adopt", action="store_true", help="take over the rows that its tables already have"
    )
    parser.add_argument(
        "--live",
        choices=Live.values,
        default="sse",
        help="how new messages are noticed (default: %(default)s)",
    )
    parser.add_argument(
        "--no-probe", action="store_false", dest="probe", help="do not ask the server"
    )

    parser = verb("edit", edit, "Changes a stream's URL, or how new messages are noticed.")
    parser.add_argument("name", help=_WHICH)
    parser.add_argument("--url", help="its new URL")
    parser.add_argument("--live", choices=Live.values, help="how new messages are noticed")
    parser.add_argument(
        "--heartbeat",
        type=int,
        metavar="SECONDS",
        help="how long its server may be silent while it has nothing new; 0 means as usual",
    )
    parser.add_argument(
        "--no-probe", action="store_false", dest="probe", help="do not ask the server"
    )

    for name, act, about in (
        ("subscribe", subscribe, "Asks a stream's server again to ring when there are messages."),
        ("pause", pause, "Stops reading a stream; its rows stay."),
        ("resume", resume, "Continues a paused or halted stream at once."),
    ):
        verb(name, act, about).add_argument("name", help=_WHICH)

    parser = verb(
        "reset",
        reset,
        "Replays a stream from its start beside the old rows,"
        " then replaces them in one transaction.",
    )
    parser.add_argument("name", help=_WHICH)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--type",
        dest="entity_type",
        metavar="TYPE",
        help="replay and replace only this type",
    )
    what.add_argument(
        "--cancel", action="store_true", help="cancel the reset that is under way; the rows stay"
    )

    parser = verb("remove", remove, "Removes a stream and its rows.")
    parser.add_argument("name", help=_WHICH)
    parser.add_argument(
        "--keep-rows", action="store_true", help="leave the rows in their tables, as your own"
    )


def add(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["adopt"] and (stream := _existing(options)) is not None:
        operations.adopt(stream, actor=actor())
        command.stdout.write(
            f"Took over the rows that are in the tables of {stream.name}; it continues after "
            f"message {stream.ordinal:,}."
        )
        return
    stream = operations.add(
        options["name"],
        options["url"],
        actor=actor(),
        live=options["live"],
        adopt=options["adopt"],
        using=options["database"],
    )
    command.stdout.write(
        f"Added the stream {stream.name}: {mask_query(stream.url)},"
        f" live by {stream.get_live_display()}."
    )
    _probe(command, stream, options)


def edit(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    if all(options[each] is None for each in ("url", "live", "heartbeat")):
        ways = ", ".join(Live.values)
        raise CommandError(
            f"Say what to change: --url URL, --heartbeat SECONDS, or --live with one of {ways}.",
            returncode=2,
        )
    operations.edit(
        stream,
        actor=actor(),
        url=options["url"],
        live=options["live"],
        heartbeat_seconds=options["heartbeat"],
    )
    silent = stream.heartbeat_seconds
    silence = f" Its server may be silent for {counted(silent, 'second')}." if silent else ""
    command.stdout.write(
        f"The stream {stream.name} is read from {mask_query(stream.url)}, live by "
        f"{stream.get_live_display()}, after message {stream.ordinal:,}.{silence}"
    )
    _probe(command, stream, options)


def _existing(options: dict[str, Any]) -> Stream | None:
    """Returns the stream of that name and URL, if any. Raises: CommandError, if its URL differs."""
    streams = Stream.objects.using(options["database"])
    stream = streams.filter(name=options["name"]).first()
    if stream is not None and stream.url != options["url"]:
        raise CommandError(
            f"There already is a stream {stream.name!r}, at {mask_query(stream.url)}. To read it "
            f"from elsewhere: manage.py durable_state edit {stream.name} --url URL"
        )
    return stream


def _probe(command: BaseCommand, stream: Stream, options: dict[str, Any]) -> None:
    """Prints what the stream's server answers. The stream was added in any case."""
    if options["probe"]:
        _tell(command, operations.probe(stream))
        if stream.has_doorbell:
            _tell(command, operations.ring_for(stream))


def _tell(command: BaseCommand, finding: operations.Finding) -> None:
    style = command.style.SUCCESS if finding.good else command.style.WARNING
    command.stdout.write(style(one_line(finding.text)))


def subscribe(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    if not stream.has_doorbell:
        raise CommandError(
            f"The stream {stream.name!r} is live by {stream.get_live_display()}. For a doorbell: "
            f"manage.py durable_state edit {stream.name} --live webhook"
        )
    finding = operations.ring_for(stream)
    if not finding.good:
        raise CommandError(one_line(finding.text))
    _tell(command, finding)


def pause(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    operations.pause(stream, actor=actor())
    # A worker looks after its streams every third of a lease, and finishes the batch in hand.
    holder = operations.wait_until_stopped(stream, get_settings().lease_seconds / 3 + 5)
    if holder:
        command.stdout.write(
            f"Pausing {stream.name}: {one_line(holder)} is still committing a batch, and stops "
            f"after it. The last commit is at message {stream.ordinal:,}."
        )
        return
    command.stdout.write(
        f"Paused {stream.name} at message {stream.ordinal:,}. Its rows stay; resume it to continue."
    )


def resume(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    operations.resume(stream, actor=actor())
    command.stdout.write(f"Resumed {stream.name} after message {stream.ordinal:,}.")


def reset(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    if options["cancel"]:
        operations.cancel_reset(stream, actor=actor())
        command.stdout.write(f"Cancelled the reset of {stream.name}; its rows stay as they are.")
        return
    operations.reset(stream, actor=actor(), entity_type=options["entity_type"])
    paused = " It is paused: resume it." if stream.paused else ""
    what = f"its type {options['entity_type']}" if options["entity_type"] else "it"
    command.stdout.write(
        f"Reset {stream.name}: {what} is replayed from its start. The rows you see stay, and are"
        f" kept up to date, until the replay has caught up with them.{paused}"
    )


def remove(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    keep = options["keep_rows"]
    rows = counted(sum(found.count() for _, found in operations.owned_rows(stream)), "row")
    verb = "keep" if keep else "delete"
    confirm(f"Remove the stream {stream.name} and {verb} its {rows}?", options)
    deleted = operations.remove(stream, actor=actor(), keep_rows=keep)
    told = f"and kept its {rows}" if keep else f"and deleted {counted(deleted, 'row')}"
    command.stdout.write(f"Removed {stream.name} {told}.")
