"""The live log: what each commit changed, and how subscribers are served from it.

The truth is a log in the database, written in the commit's own transaction; Channels only rings a
bell. May look at models, the registry and the protocol; knows nothing of HTTP, of how rows are
written, or of who may see what: that comes in as an ``Audience``.
"""

from .audience import Audience, Sight
from .bell import ring
from .hub import Hub, StreamRemoved, subscribe
from .log import (
    ComposedEntry,
    FeedTxid,
    LoggedChange,
    compose,
    decode_txids,
    encode_txids,
    write,
)
from .places import TooManySubscribers
from .pruning import LogKeeper, prune, prune_held
from .renewal import AccessWithdrawn
from .rows import shown_rows
from .sending import ClientGone
from .subscriber import Subscriber
from .threads import CallTimedOut, run_for, run_once_for

__all__ = [
    "AccessWithdrawn",
    "Audience",
    "CallTimedOut",
    "ClientGone",
    "ComposedEntry",
    "FeedTxid",
    "Hub",
    "LogKeeper",
    "LoggedChange",
    "Sight",
    "StreamRemoved",
    "Subscriber",
    "TooManySubscribers",
    "compose",
    "decode_txids",
    "encode_txids",
    "prune",
    "prune_held",
    "ring",
    "run_for",
    "run_once_for",
    "shown_rows",
    "subscribe",
    "write",
]
