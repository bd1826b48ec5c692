"""What an audience, subscribers who see the same, sees of a stream.

Why: decision 70.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import msgspec
from django.db import models

from durable_state.conf import get_settings
from durable_state.conversion.keys import key_value
from durable_state.models import Stream
from durable_state.registry import EntityMapping

from .frames import Token, stream_identity

__all__ = ["Audience", "Sight"]


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Sight(NamedTuple):
    """One entity type as an audience sees it."""

    mapping: EntityMapping
    rows: models.QuerySet[models.Model]
    """Those of the stream that the policy gives."""
    narrowed: bool
    """Whether the policy leaves out rows."""
    fields: frozenset[str] | None = None
    """The wire names that a value is cut to; None: all."""
    keys: frozenset[str] | None = None
    """The entities that were asked for; None: all."""
    question: Hashable = None
    """Where it is narrowed, what the database is asked: another one may have other rows."""

    @property
    def asked(self) -> models.QuerySet[models.Model]:
        """Of its rows those that were asked for."""
        if self.keys is None:
            return self.rows
        field = self.mapping.key
        values = [key_value(field, key, self.rows.db) for key in self.keys]
        wanted = [value for value in values if value is not None]
        return self.rows.filter(**{f"{self.mapping.key_field}__in": wanted})

    @property
    def is_whole(self) -> bool:
        """Whether the policy leaves out neither rows nor fields."""
        return not self.narrowed and self.fields is None

    def wants(self, key: str) -> bool:
        """Whether the entity was asked for."""
        return self.keys is None or key in self.keys

    def only(self, value: bytes) -> bytes:
        """An encoded value with the fields that are seen.

        One that is no object has no fields, so it becomes ``null`` where fields are left out.
        """
        if self.fields is None:
            return value
        try:
            members = _members.decode(value)
        except msgspec.ValidationError:
            return b"null"
        except msgspec.DecodeError:  # a lone surrogate
            found = json.loads(value)
            shown = {name: part for name, part in found.items() if name in self.fields}
            return json.dumps(shown).encode()
        return msgspec.json.encode(
            {name: part for name, part in members.items() if name in self.fields}
        )

    @property
    def signature(self) -> str:
        """Names what is seen, except for the rows that the policy leaves out."""
        fields = None if self.fields is None else sorted(self.fields)
        keys = None if self.keys is None else sorted(self.keys)
        # As Python spells it: no key, which anybody may choose, can look like several parts.
        return repr(
            (self.mapping.entity_type, self.mapping.fingerprint, self.narrowed, fields, keys)
        )


@dataclass(eq=False)
class Audience:
    """The types that a subscriber sees, each with its rows.

    Types that it may not see are not in it.

    Audiences with the same ``signature`` see the same and share their frames. Those that are
    personal share them only where their ``name`` is the same, too (None: with nobody): what they
    may see can differ although the query looks alike.
    """

    stream: Stream
    sights: dict[str, Sight] = field(default_factory=dict)
    signature: str = ""
    name: Hashable | None = None
    beside: dict[str, Sight] = field(default_factory=dict)
    """The types that it may see and did not ask for: it is told of their transactions alone."""

    @classmethod
    def of(
        cls,
        stream: Stream,
        sights: Iterable[Sight],
        name: Hashable | None = None,
        beside: Iterable[Sight] = (),
    ) -> Audience:
        """The audience of these sights."""
        by_type = {sight.mapping.entity_type: sight for sight in sights}
        told = {sight.mapping.entity_type: sight for sight in beside}
        parts = sorted(sight.signature for sight in by_type.values())
        parts += sorted(f"beside {sight.signature}" for sight in told.values())
        seen = "\n".join([get_settings().large_integers, *parts])
        digest = hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()
        return cls(stream, by_type, digest, name, told)

    @cached_property
    def known(self) -> dict[str, Sight]:
        """All types that it may see."""
        return self.sights | self.beside

    @cached_property
    def narrowed(self) -> bool:
        """Whether it sees only some rows of a type that it asked for."""
        return any(sight.narrowed for sight in self.sights.values())

    @cached_property
    def is_personal(self) -> bool:
        """Whether what it is told can differ from what others with its signature are told."""
        return any(sight.narrowed for sight in self.known.values())

    @property
    def question(self) -> Hashable:
        """What the database is asked for the rows of narrowed types."""
        return tuple(sight.question for sight in self.sights.values())

    def token(self, revision: int, stamp: int = 0) -> str:
        """The resume token of this audience at ``revision``, of which ``stamp`` is the commit's.

        A narrowed audience cannot resume: what it was shown is forgotten.
        """
        return str(Token(*self._place_names, revision, stamp))

    @cached_property
    def _place_names(self) -> tuple[str, str]:
        """The parts with which all of its tokens begin."""
        seen = "narrowed" if self.narrowed else self.signature
        return stream_identity(self.stream), seen

    def resume(self, offset: str) -> Token | None:
        """What to go on from, or None where only a snapshot will do."""
        token = Token.parse(offset)
        if (
            token is None
            or self.narrowed
            or token[:2] != (stream_identity(self.stream), self.signature)
        ):
            return None
        return token
