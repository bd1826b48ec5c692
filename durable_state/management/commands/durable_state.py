"""``manage.py durable_state <verb>``: everything an operator does, on one command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from durable_state.errors import DurableStateError
from durable_state.management.verbs import inspecting, letters, running, streams

__all__ = ["Command"]

Verb = Callable[[BaseCommand, dict[str, Any]], None]


class Command(BaseCommand):
    """Says what it did; exits non-zero with one clear line when it could not;
    asks before it destroys, unless ``--no-input``.
    """

    help = "Keeps Django models equal to remote Durable State streams: adds, syncs, inspects and repairs streams."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

        def verb(name: str, run: Verb, about: str, *, failure: int = 1) -> argparse.ArgumentParser:
            each: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
            each.set_defaults(run=run, failure=failure)
            each.add_argument(
                "--database", default=DEFAULT_DB_ALIAS, help="the database of the mapped models"
            )
            each.add_argument(
                "--no-input",
                "--noinput",
                action="store_false",
                dest="interactive",
                help="never ask",
            )
            _also_after_the_verb(each)
            return each

        streams.define(verb)
        running.define(verb)
        inspecting.define(verb)
        letters.define(verb)

    def handle(self, *args: Any, **options: Any) -> None:
        failure = options["failure"]
        if options["database"] not in connections:
            raise CommandError(
                f"There is no database {options['database']!r} in the settings.",
                returncode=failure,
            )
        try:
            options["run"](self, options)
        except DurableStateError as error:
            raise CommandError(" ".join(str(error).split("\n")), returncode=failure) from error
        except DatabaseError as error:
            reason = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            raise CommandError(
                f"The database {options['database']!r} refused: {reason}. "
                "Is it reachable, and migrated (manage.py migrate --database"
                f" {options['database']})?",
                returncode=failure,
            ) from error
        except KeyboardInterrupt as error:
            raise CommandError(
                "Interrupted. Nothing is lost: the next run goes on from there.", returncode=130
            ) from error


def _also_after_the_verb(parser: argparse.ArgumentParser) -> None:
    """Django's own options work before and after the verb."""
    for flags, extra in (
        (("-v", "--verbosity"), {"type": int, "choices": [0, 1, 2, 3]}),
        (("--settings",), {}),
        (("--pythonpath",), {}),
        (("--traceback", "--no-color", "--force-color", "--skip-checks"), None),
    ):
        for flag in [flags] if extra is not None else [(each,) for each in flags]:
            more: dict[str, Any] = extra if extra is not None else {"action": "store_true"}
            parser.add_argument(*flag, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **more)
