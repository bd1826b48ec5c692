"""What is known of one stream at one moment, for the command, the admin, REST and monitoring."""

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
    """Its query is masked."""
    status: str
    """A ``Status``, or a ``Shown`` one that says more."""
    stuck: bool
    """Whether the stream waits for a person: nothing gets better by itself."""
    why: str
    """In one line why the stream is stuck, or else what a person should know; may be empty."""
    offset: str
    """The server's token for what was read last; opaque."""
    ordinal: int
    """Messages read since the stream's start."""
    revision: int
    """The number of the last commit."""
    account: Account
    """What became of all messages that were read."""
    misfits: list[str]
    """What of its mappings does not fit what it holds, a sentence each."""
    parked: int
    """Changes that are parked now; 100,001 stands for more."""
    dead_letters: int
    """Dead letters that exist now; 100,001 stands for more."""
    lag_seconds: float
    """How long ago the rows were last known to hold all that the stream had."""
    since: datetime
    """When the status began."""
    headway: Headway
    """How far the stream is, or its reset."""
    replayed: int | None
    """Messages that a reset has folded by now; None where none is under way."""
    holder: str
    """Who consumes the stream, as ``host:pid:purpose:nonce``; "" is nobody."""
    last_error: str
    """What failed; quotes no value of a row, and may be empty."""
    action: str
    """What to do; may be empty."""
    last_error_detail: str = ""
    """What of the error quotes rows: for those only who see the rows of ``last_error_type``."""
    last_error_type: str = ""
    """An entity type; "" stands for all of them."""

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
