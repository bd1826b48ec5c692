"""``manage.py durable_state <verb>``: everything an operator does, on one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from durable_state.errors import DurableStateError
from durable_state.management.verbs import inspecting, letters, publishing, running, streams

__all__ = ["Command"]

Verb = Callable[[BaseCommand, dict[str, Any]], None]

BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE has ended."""


class Command(BaseCommand):
    """Says what it did, or exits non-zero with one clear line;
    asks before it destroys anything, unless ``--no-input`` is given.
    """

    help = (
        "Keeps Django models equal to remote Durable State streams:"
        " adds, reads, inspects and repairs streams."
        " `durable_state VERB --help` describes one verb."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
        lines = []

        def verb(name: str, run: Verb, about: str, *, failure: int = 1) -> argparse.ArgumentParser:
            each: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
            each.set_defaults(run=run, failure=failure)
            each.add_argument(
                "--database",
                metavar="ALIAS",
                default=DEFAULT_DB_ALIAS,
                help="the database of the mapped models (default: %(default)s)",
            )
            each.add_argument(
                "--no-input",
                "--noinput",
                action="store_false",
                dest="interactive",
                help="do not ask for confirmation",
            )
            _also_after_the_verb(each)
            lines.append(f"  {name:<13} {about}")
            return each

        streams.define(verb)
        running.define(verb)
        inspecting.define(verb)
        letters.define(verb)
        publishing.define(verb)
        parser.missing_args_message = "\n".join(["name a verb, one of", *lines])

    def handle(self, *args: Any, **options: Any) -> None:
        failure, database = options["failure"], options["database"]
        if database not in connections:
            raise CommandError(
                f"There is no database {database!r} in the settings.", returncode=failure
            )

        try:
            options["run"](self, options)
            sys.stdout.flush()  # a pipe that was closed is noticed here, and not by Python's end
        except DurableStateError as error:
            raise CommandError(" ".join(str(error).split("\n")), returncode=failure) from error
        except DatabaseError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise CommandError(
                f"The database {database!r} refused: {reason}."
                f" Is it reachable, and migrated (manage.py migrate --database {database})?",
                returncode=failure,
            ) from error
        except BrokenPipeError:
            _leave_the_closed_pipe()
        except KeyboardInterrupt as error:
            raise CommandError(
                "Interrupted. Nothing is lost: the next run continues from there.", returncode=130
            ) from error


def _leave_the_closed_pipe() -> NoReturn:
    """Ends quietly: whoever read the output (``head``, a pager) has seen enough."""
    # Python flushes stdout once more when it ends, and would complain about the pipe then.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)


def _also_after_the_verb(parser: argparse.ArgumentParser) -> None:
    """Accepts Django's own options after the verb, too."""

    def also(*flags: str, **options: Any) -> None:
        parser.add_argument(*flags, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)

    also("-v", "--verbosity", type=int, choices=[0, 1, 2, 3])
    also("--settings")
    also("--pythonpath")
    for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        also(flag, action="store_true")
