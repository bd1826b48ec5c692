"""A summary of rows, wherever they are: a count and a checksum for each type.

It does not depend on the order of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

__all__ = ["Digest", "checksum", "digest_of"]

Digest = dict[str, tuple[int, int]]
"""By type: how many rows, and the sum of their checksums modulo 2**64.

Equal for equal rows; a row at a time is enough to compute it.
"""


def checksum(key: str, value: Any) -> int:
    """The checksum of one row, with the value as it is on the wire."""
    text = json.dumps([key, value], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def digest_of(rows: Iterable[tuple[str, str, Any]]) -> Digest:
    """The digest of rows given as type, key and wire value."""
    digest: Digest = {"message": (0, 0), "profile": (0, 0), "setting": (0, 0)}
    for entity_type, key, value in rows:
        count, total = digest[entity_type]
        digest[entity_type] = count + 1, (total + checksum(key, value)) % 2**64
    return digest
