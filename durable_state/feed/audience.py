"""What one kind of subscriber sees of a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import models

from durable_state.models import Stream
from durable_state.registry import EntityMapping

from .frames import Token, stream_identity

__all__ = ["Audience", "Sight"]


class Sight(NamedTuple):
    """One entity type as an audience sees it: its rows, and whether those are fewer than all."""

    mapping: EntityMapping
    rows: models.QuerySet[models.Model]
    narrowed: bool


@dataclass(eq=False)
class Audience:
    """The types that a subscriber sees, each with its rows.

    Types that it may not see, or did not ask for, are not in it.

    Audiences with the same ``signature`` see the same and share their frames. One that is narrowed
    shares nothing: what it may see can differ from another's although the query looks alike.
    """

    stream: Stream
    sights: dict[str, Sight] = field(default_factory=dict)
    signature: str = ""

    @classmethod
    def of(cls, stream: Stream, sights: Iterable[Sight]) -> Audience:
        """The audience of these sights."""
        by_type = {sight.mapping.entity_type: sight for sight in sights}
        parts = sorted(
            f"{name}\0{sight.mapping.fingerprint}\0{sight.narrowed}"
            for name, sight in by_type.items()
        )
        digest = hashlib.blake2b("\1".join(parts).encode(), digest_size=8).hexdigest()
        return cls(stream, by_type, digest)

    @property
    def narrowed(self) -> bool:
        """Whether it sees only some rows of a type."""
        return any(sight.narrowed for sight in self.sights.values())

    def token(self, revision: int) -> str:
        """The resume token of this audience at ``revision``.

        A narrowed audience cannot resume: what it was shown is forgotten.
        """
        return str(
            Token(
                stream_identity(self.stream),
                "narrowed" if self.narrowed else self.signature,
                revision,
            )
        )

    def resume(self, offset: str) -> int | None:
        """The revision to go on from, or None where only a snapshot will do."""
        token = Token.parse(offset)
        if (
            token is None
            or self.narrowed
            or token[:2] != (stream_identity(self.stream), self.signature)
        ):
            return None
        return token.revision
