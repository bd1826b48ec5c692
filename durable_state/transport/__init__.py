"""HTTP: reads and writes durable streams. The one place that imports httpx; may import no Django.

``ReadSession`` decides, ``Reader`` performs; positions travel with the batches they belong to.
"""

from __future__ import annotations

from .answer import Answer
from .backoff import delay
from .batches import Batch, BatchLimits
from .checkpoint import DEEP_BYTES, Checkpoint
from .client import AskHeaders, open_client
from .following import Following
from .probe import probe
from .reader import Reader, Rereader
from .request import LiveMode
from .session import ReadSession
from .subscriptions import Acknowledged, Subscriptions
from .writing import StreamHead, append, close, create, delete, head

__all__ = [
    "DEEP_BYTES",
    "Acknowledged",
    "Answer",
    "AskHeaders",
    "Batch",
    "BatchLimits",
    "Checkpoint",
    "Following",
    "LiveMode",
    "ReadSession",
    "Reader",
    "Rereader",
    "StreamHead",
    "Subscriptions",
    "append",
    "close",
    "create",
    "delay",
    "delete",
    "head",
    "open_client",
    "probe",
]
