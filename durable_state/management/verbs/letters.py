"""``dead-letters list|retry|discard``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from durable_state import operations
from durable_state.management.asking import actor, confirm
from durable_state.management.table import one_line, table
from durable_state.models import DeadLetter, Stream
from durable_state.operations.wording import counted

__all__ = ["define"]


def define(verb: Any) -> None:
    """Adds the verb to the command's parser."""
    parser = verb(
        "dead-letters",
        dead_letters,
        "Lists refused messages, tries them again, or discards them.",
        failure=2,
    )
    parser.add_argument(
        "what", nargs="?", default="list", help="list (the default), retry or discard"
    )
    parser.add_argument("name", nargs="?", help="only those of this stream")
    parser.add_argument("--id", type=int, help="only this dead letter")


def dead_letters(command: BaseCommand, options: dict[str, Any]) -> None:
    acts = {"list": _list, "retry": _retry, "discard": _discard}
    if options["what"] not in acts:
        if options["name"] is not None:
            raise CommandError(f"{options['what']!r} is not list, retry or discard.", returncode=2)
        if close := get_close_matches(options["what"], acts, n=1, cutoff=0.75):
            _prefer_a_stream(options, meant=close[0])
        options |= {"what": "list", "name": options["what"]}
    acts[options["what"]](command, _chosen(options), options)


def _prefer_a_stream(options: dict[str, Any], *, meant: str) -> None:
    """Raises: CommandError, where the word is nearly a verb and no stream has that name."""
    if not Stream.objects.using(options["database"]).filter(name=options["what"]).exists():
        raise CommandError(
            f"{options['what']!r} is neither a stream nor list, retry or discard."
            f" Did you mean {meant}?",
            returncode=2,
        )


def _chosen(options: dict[str, Any]) -> QuerySet[DeadLetter]:
    letters = (
        DeadLetter.objects.using(options["database"])
        .filter(generation=DeadLetter.SHOWN)
        .select_related("stream")
    )
    if options["name"] is not None:
        letters = letters.filter(
            stream=operations.find_stream(options["name"], options["database"])
        )
    if options["id"] is not None:
        letters = letters.filter(pk=options["id"])
        if not letters.exists():
            raise CommandError(
                f"There is no dead letter {options['id']}{_of(options)}."
                " List them: manage.py durable_state dead-letters list",
                returncode=2,
            )
    return letters


def _list(command: BaseCommand, letters: QuerySet[DeadLetter], options: dict[str, Any]) -> None:
    found = letters.order_by("stream__name", "ordinal").defer("body")
    rows = [
        (
            letter.pk,
            letter.stream.name,
            letter.ordinal,
            one_line(letter.type, 30),
            one_line(letter.key, 40),
            letter.reason,
            one_line(letter.detail, 100),
        )
        for letter in found.iterator(chunk_size=500)
    ]
    if not rows:
        command.stdout.write(f"There are no dead letters{_of(options)}.")
        return
    heads, *lines = table(
        ("ID", "STREAM", "MESSAGE", "TYPE", "KEY", "REASON", "DETAIL"), rows, right=(0, 2)
    )
    command.stdout.write(command.style.MIGRATE_HEADING(heads))
    for line in lines:
        command.stdout.write(line)


def _retry(command: BaseCommand, letters: QuerySet[DeadLetter], options: dict[str, Any]) -> None:
    if options["id"] is not None:
        accepted = int(operations.retry(letters.get(), actor=actor()))
        refused = 1 - accepted
    else:
        accepted, refused = operations.retry_all(letters, actor=actor())
    command.stdout.write(
        f"Retried {counted(accepted + refused, 'dead letter')}{_of(options)}:"
        f" {accepted} accepted, {refused} refused again."
    )
    if refused:
        raise CommandError(
            f"Still refused: {refused}. manage.py durable_state dead-letters list says why.",
            returncode=1,
        )


def _discard(command: BaseCommand, letters: QuerySet[DeadLetter], options: dict[str, Any]) -> None:
    if count := letters.count():
        confirm(
            f"Discard {counted(count, 'dead letter')}{_of(options)}? The stream is not changed.",
            options,
        )
    discarded = operations.discard_all(letters, actor=actor())
    command.stdout.write(f"Discarded {counted(discarded, 'dead letter')}{_of(options)}.")


def _of(options: dict[str, Any]) -> str:
    return f" of {options['name']}" if options["name"] is not None else ""
