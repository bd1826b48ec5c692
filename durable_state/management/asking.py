"""Who runs the command, and what they are asked."""

from __future__ import annotations

import getpass
import socket
from typing import Any

from django.core.management.base import CommandError

__all__ = ["actor", "confirm"]


def actor() -> str:
    """The name that audit entries of the command carry: ``manage.py by user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"  # a container's user without an entry
    return f"manage.py by {user}@{socket.gethostname()}"


def confirm(question: str, options: dict[str, Any]) -> None:
    """Returns when the answer is yes, or nobody is to be asked.

    Raises: CommandError otherwise, before anything was done.
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
