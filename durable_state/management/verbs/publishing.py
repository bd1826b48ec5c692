"""``publish``: writes a change to a stream, by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from durable_state import operations
from durable_state.errors import StreamNotFound
from durable_state.management.table import one_line
from durable_state.models import Stream
from durable_state.protocol import ABSENT, Operation
from durable_state.registry import registry

__all__ = ["define"]

NAMED_TYPES = 10
"""How many mapped types are named to whoever has mistyped one."""


def define(verb: Any) -> None:
    """Adds the verb to the command's parser."""
    parser = verb("publish", publish, "Appends one change to a stream.")
    parser.add_argument("name", help="the stream")
    parser.add_argument("type", help="the entity type")
    parser.add_argument("key", help="the entity key")
    parser.add_argument("value", nargs="?", help="the value as JSON; a delete needs none")
    parser.add_argument(
        "--operation",
        choices=[each.value for each in Operation],
        default="upsert",
        help="what the change does (default: upsert)",
    )
    parser.add_argument(
        "--create", action="store_true", help="create the stream on its server if it is missing"
    )


def publish(command: BaseCommand, options: dict[str, Any]) -> None:
    stream = operations.find_stream(options["name"], options["database"])
    operation = options["operation"]
    value: Any = ABSENT
    if options["value"] is not None:
        try:
            json.loads(options["value"], parse_constant=_refuse)
            value = msgspec.Raw(options["value"].encode())  # with all digits of its numbers
        except ValueError as error:
            raise CommandError(
                f'The value is not JSON: {error}. Quote it for the shell: \'{{"title": "..."}}\'',
                returncode=2,
            ) from error
    elif operation != Operation.DELETE:
        raise CommandError("Give a value, or --operation delete.", returncode=2)
    try:
        operations.publish(
            stream,
            options["type"],
            options["key"],
            value,
            operation=operation,
            create=options["create"],
        )
    except StreamNotFound as error:
        raise CommandError(f"{error.message} To create the stream, pass --create.") from error
    told = one_line(f"{options['type']} {options['key']}")
    command.stdout.write(f"Appended to {stream.name}: {operation} {told}.")
    if registry.find(options["type"], stream.name) is None:
        command.stderr.write(command.style.WARNING(_unmapped(options["type"], stream)))


def _unmapped(entity_type: str, stream: Stream) -> str:
    mapped = sorted(mapping.entity_type for mapping in registry.for_stream(stream.name))
    return one_line(
        f'No mapping serves the type "{entity_type}" in {stream.name}, so it will not become a row.'
        f" Mapped: {', '.join(mapped[:NAMED_TYPES]) or 'none'}."
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
