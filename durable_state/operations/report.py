"""The report of one stream, for the command, the admin, REST and monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable_state.conversion.jsonable import jsonable

from .account import Account
from .progress import Headway

__all__ = ["StreamReport"]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream's state at one moment."""

    name: str
    url: str
    """The address, with its query masked."""
    status: str
    """A ``Status``, or a ``Shown`` one that says more."""
    stuck: bool
    """Whether the stream waits for a person, because it will not recover by itself."""
    why: str
    """Why the stream is stuck, or what else a person should know, in one line; may be empty."""
    offset: str
    """The server's token for what was read last; opaque."""
    ordinal: int
    """Messages read since the stream's start."""
    revision: int
    """The number of the last commit."""
    account: Account
    """What became of all messages that were read."""
    misfits: list[str]
    """Where its mappings do not fit its messages, one sentence each."""
    parked: int
    """Changes that are parked now; 100,001 stands for more."""
    dead_letters: int
    """Dead letters that exist now; 100,001 stands for more."""
    lag_seconds: float
    """How long ago the rows were last known to hold everything in the stream."""
    since: datetime
    """When the status began."""
    headway: Headway
    """How far the stream, or its reset, has come."""
    replayed: int | None
    """Messages that a reset has folded so far; None if none is under way."""
    holder: str
    """Who consumes the stream, as ``host:pid:purpose:nonce``; "" if nobody does."""
    last_error: str
    """What failed; quotes no value of a row, and may be empty."""
    action: str
    """What to do; may be empty."""
    last_error_detail: str = ""
    """The part of the error that quotes rows, for users who see the rows of ``last_error_type``."""
    last_error_type: str = ""
    """The entity type of these rows; "" stands for all types."""

    @property
    def applied(self) -> int:
        """Changes that were accepted since the start."""
        return self.account.applied

    def to_json(self) -> dict[str, Any]:
        """The dict of ``status --json``.

        ``since`` is ISO 8601, ``lag_seconds`` in seconds, ``progress`` in messages.
        """
        return {
            "name": self.name,
            "url": self.url,
            "status": self.status,
            "stuck": self.stuck,
            "why": self.why,
            "offset": self.offset,
            "ordinal": self.ordinal,
            "revision": self.revision,
            "applied": self.account.applied,
            "parked": self.parked,
            "dead_letters": self.dead_letters,
            "no_row": self.account.no_row,
            "unregistered": self.account.unregistered,
            "control": self.account.control,
            "superseded": self.account.superseded,
            "lag_seconds": self.lag_seconds,
            "since": jsonable(self.since),
            "progress": self.headway.to_json(),
            "holder": self.holder,
            "last_error": self.last_error,
            "action": self.action,
        }
