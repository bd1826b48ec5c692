"""What is known of a stream's types: the messages passed over, the mapping used, a needed reset.

Why: decision 12.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import cached_property

from durable_state.conversion import printable
from durable_state.models import Replay, Stream, TypeState, entity_digest
from durable_state.registry import registry

from .batch.sampling import Sample
from .plan import TypePlan

__all__ = ["ReplayTypeBook", "SilentTypeBook", "TypeBook"]

LONGEST = 5000
"""Characters of a type that are kept; none that is registered has so many."""


class TypeBook:
    """The types of one stream, read once per commit and written where something changed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._using = stream.using

    @cached_property
    def _states(self) -> dict[str, TypeState]:
        states = TypeState.objects.using(self._using).filter(stream=self._stream)
        return {state.digest: state for state in states}

    def accepts(self, plan: TypePlan) -> bool:
        """Whether changes of the type may be applied to the rows; not if earlier ones were passed
        over, because the rows would be incomplete.
        """
        state = self._state(plan.type)
        if state.fingerprint == plan.mapping.fingerprint:
            return True
        if state.fingerprint == "" and state.unregistered == 0:
            state.fingerprint, state.needs_reset = plan.mapping.fingerprint, False
            state.save(using=self._using)
            return True
        if not state.needs_reset:
            self.demand_reset(plan)
        return state.fingerprint != ""

    def demand_reset(self, plan: TypePlan) -> None:
        """Notes that only a reset can make the type's rows equal to the fold."""
        state = self._state(plan.type)
        state.needs_reset = True
        state.save(using=self._using)

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts messages of a type that has no mapping, or whose earlier messages had none."""
        state = self._state(entity_type)
        state.unregistered += count
        # If it had a mapping once, its rows no longer follow the stream, should it get one again.
        state.needs_reset = state.needs_reset or state.fingerprint != ""
        state.save(using=self._using)

    def renew(self, plans: Iterable[TypePlan]) -> None:
        """Notes that the rows of these types were rebuilt from the stream's start."""
        for plan in plans:
            state = self._state(plan.type)
            if (
                state.needs_reset
                or state.unregistered
                or state.fingerprint != plan.mapping.fingerprint
            ):
                state.fingerprint, state.unregistered, state.needs_reset = (
                    plan.mapping.fingerprint,
                    0,
                    False,
                )
                state.save(using=self._using)

    def forget_all_but(self, types: Container[str]) -> None:
        """Forgets all other registered types, of which the stream holds nothing.

        Types that are not registered stay counted, because their messages may still be wanted.
        """
        for mapping in registry.for_stream(self._stream.name):
            state = self._states.get(entity_digest(mapping.entity_type, ""))
            if state is not None and mapping.entity_type not in types:
                state.fingerprint, state.unregistered, state.needs_reset = "", 0, False
                state.sample = {}
                state.save(using=self._using)

    def take_over(self, replay: Replay) -> None:
        """Replaces what the stream has passed over by what its replay has."""
        for digest, state in self._states.items():
            if state.unregistered and digest not in replay.unregistered:
                state.unregistered = 0
                state.save(using=self._using)
        for digest, (name, count) in replay.unregistered.items():
            state = self._state_of(digest, name)
            state.unregistered, state.needs_reset = (
                count,
                state.needs_reset or state.fingerprint != "",
            )
            state.save(using=self._using)
        for digest, (name, sample) in replay.samples.items():
            state = self._state_of(digest, name)
            state.sample = sample
            state.save(using=self._using)

    def sample(self, entity_type: str, sample: Sample) -> None:
        """Notes what became of some changes of a type."""
        state = self._state(entity_type)
        known = Sample.of(state.sample)
        if known.learn(sample):
            state.sample = known.to_json()
            state.save(using=self._using)

    def _state(self, entity_type: str) -> TypeState:
        return self._state_of(*_names(entity_type))

    def _state_of(self, digest: str, name: str) -> TypeState:
        if digest not in self._states:
            self._states[digest] = TypeState(stream=self._stream, digest=digest, type=name)
        return self._states[digest]


class ReplayTypeBook(TypeBook):
    """Notes what a replay finds out about the types in the replay, for ``TypeBook.take_over``."""

    def __init__(self, stream: Stream, replay: Replay) -> None:
        super().__init__(stream)
        self._replay = replay

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts messages of a type that has no mapping."""
        digest, name = _names(entity_type)
        self._replay.unregistered.setdefault(digest, [name, 0])[1] += count

    def sample(self, entity_type: str, sample: Sample) -> None:
        """Notes what became of some changes of a type."""
        digest, name = _names(entity_type)
        known = Sample.of(self._replay.samples.get(digest, [name, {}])[1])
        if known.learn(sample):
            self._replay.samples[digest] = [name, known.to_json()]


class SilentTypeBook(TypeBook):
    """Notes nothing: of a fold that is only compared."""

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts nothing."""

    def sample(self, entity_type: str, sample: Sample) -> None:
        """Takes down nothing."""


def _names(entity_type: str) -> tuple[str, str]:
    """The type's digest, and as text that every database takes."""
    return entity_digest(entity_type, ""), printable(entity_type)[:LONGEST]
