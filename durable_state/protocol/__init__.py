"""The wire: messages, positions, and the two framings they arrive in.

Pure: may import no Django, no httpx, and waits for nothing.
"""

from __future__ import annotations

from .array import ArraySplitter
from .decoding import decode
from .flaws import explain, txid_of
from .messages import (
    ABSENT,
    Change,
    Control,
    ControlKind,
    Malformed,
    Message,
    Operation,
    encode_change,
    encode_control,
)
from .position import START, Position
from .sse import ServerSentEvent, SSEDecoder
from .url import check_url, mask_query, origin

__all__ = [
    "ABSENT",
    "START",
    "ArraySplitter",
    "Change",
    "Control",
    "ControlKind",
    "Malformed",
    "Message",
    "Operation",
    "Position",
    "SSEDecoder",
    "ServerSentEvent",
    "check_url",
    "decode",
    "encode_change",
    "encode_control",
    "explain",
    "mask_query",
    "origin",
    "txid_of",
]
