"""Who runs the command, and the questions that it asks them."""

from __future__ import annotations

import getpass
import socket
from typing import Any

from django.core.management.base import CommandError

__all__ = ["actor", "confirm"]


def actor() -> str:
    """Returns the name for audit entries of the command: ``manage.py by user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"  # a container's user has no passwd entry
    return f"manage.py by {user}@{socket.gethostname()}"


def confirm(question: str, options: dict[str, Any]) -> None:
    """Asks for confirmation, and returns if the answer is yes. With ``--no-input`` it does not ask.

    Raises: CommandError otherwise; nothing was done yet.
    """
    if not options["interactive"]:
        return
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError as error:
        raise CommandError(
            "Nothing was done: confirm in a terminal, or pass --no-input."
        ) from error
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.")
