"""The rows that readers of narrowed types hold, kept in the database between their requests.

A row that a reader may no longer see is sent as a delete, and one that was never shown is never
mentioned. For this, whichever process gets the next request must know what was shown. Each step
adds keys to those of the step before. Why: decision 66.
"""

from __future__ import annotations

import datetime
import hashlib
import zlib
from collections.abc import Mapping

import msgspec

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import HeldRows, Stream

__all__ = ["STEPS", "HeldKeys", "keep", "load"]

STEPS = 8
"""Steps after which all keys are written as a single one."""

HeldKeys = dict[str, set[str]]
"""The keys by entity type."""

_decode = msgspec.json.Decoder(dict[str, set[str]]).decode


def keep(stream: Stream, reader: str, added: Mapping[str, set[str]], parent: str = "") -> str:
    """Stores the keys on top of those of ``parent``; returns their name."""
    plain = msgspec.json.encode({name: sorted(keys) for name, keys in sorted(added.items())})
    digest = _digest(reader, parent, plain)
    held = HeldRows(
        stream=stream,
        digest=digest,
        parent=parent,
        keys=zlib.compress(plain, 1),
        expires_at=_expiry(stream),
    )
    HeldRows.objects.using(stream.using).bulk_create([held], ignore_conflicts=True)
    # An entry that exists already is kept as long as a new one would be.
    same = HeldRows.objects.using(stream.using).filter(stream=stream, digest=digest)
    same.filter(expires_at__lt=held.expires_at).update(expires_at=held.expires_at)
    return digest


def load(stream: Stream, reader: str, digest: str) -> tuple[HeldKeys, int] | None:
    """The keys stored under that name, and in how many steps.

    None if they have expired or belong to another reader.
    """
    found: HeldKeys = {}
    steps: list[HeldRows] = []
    rows = HeldRows.objects.using(stream.using).filter(stream=stream)
    while digest:
        step = rows.filter(digest=digest).first()
        plain = b"" if step is None else zlib.decompress(bytes(step.keys))
        if step is None or _digest(reader, step.parent, plain) != digest:
            return None
        for name, keys in _decode(plain).items():
            found.setdefault(name, set()).update(keys)
        steps.append(step)
        digest = step.parent
    _renew(stream, steps)
    return found, len(steps)


def _digest(reader: str, parent: str, plain: bytes) -> str:
    named = b"\0".join([reader.encode(), parent.encode(), plain])
    return hashlib.blake2b(named, digest_size=16).hexdigest()


def _renew(stream: Stream, steps: list[HeldRows]) -> None:
    """Keeps the steps for longer, once a quarter of their time has passed."""
    soon = _expiry(stream) - datetime.timedelta(seconds=get_settings().feed_keep_seconds / 4)
    old = [step.pk for step in steps if step.expires_at < soon]
    for start in range(0, len(old), 500):
        HeldRows.objects.using(stream.using).filter(pk__in=old[start : start + 500]).update(
            expires_at=_expiry(stream)
        )


def _expiry(stream: Stream) -> datetime.datetime:
    return database_now(stream.using) + datetime.timedelta(seconds=get_settings().feed_keep_seconds)
