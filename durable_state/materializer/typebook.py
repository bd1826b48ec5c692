"""What is known of the types of a stream: passed over, folded by which mapping, in need of a reset.

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
    """The types of one stream, read once for a commit and written where something changed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._using = stream.using

    @cached_property
    def _states(self) -> dict[str, TypeState]:
        states = TypeState.objects.using(self._using).filter(stream=self._stream)
        return {state.digest: state for state in states}

    def accepts(self, plan: TypePlan) -> bool:
        """Whether changes of the type may go to the rows: not where earlier ones were passed over,
        for the rows would be a part only.
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
        """Only a reset can bring the type's rows to the fold."""
        state = self._state(plan.type)
        state.needs_reset = True
        state.save(using=self._using)

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts messages of a type that has no mapping, or whose earlier messages had none."""
        state = self._state(entity_type)
        state.unregistered += count
        # It had a mapping once: its rows are no longer what the stream says, should it get one
        # again.
        state.needs_reset = state.needs_reset or state.fingerprint != ""
        state.save(using=self._using)

    def renew(self, plans: Iterable[TypePlan]) -> None:
        """The rows of these types were made anew, from all there is."""
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
        """The stream holds nothing of the other types that are registered: they begin as if none
        had come.

        What is not registered stays counted; its messages may still be wanted.
        """
        for mapping in registry.for_stream(self._stream.name):
            state = self._states.get(entity_digest(mapping.entity_type, ""))
            if state is not None and mapping.entity_type not in types:
                state.fingerprint, state.unregistered, state.needs_reset = "", 0, False
                state.sample = {}
                state.save(using=self._using)

    def take_over(self, replay: Replay) -> None:
        """What a replay passed over is all that the stream has passed over."""
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
        """Takes down what some changes of a type came to."""
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
    """What a replay finds out of the types, noted in the replay for ``TypeBook.take_over``."""

    def __init__(self, stream: Stream, replay: Replay) -> None:
        super().__init__(stream)
        self._replay = replay

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts messages of a type that has no mapping."""
        digest, name = _names(entity_type)
        self._replay.unregistered.setdefault(digest, [name, 0])[1] += count

    def sample(self, entity_type: str, sample: Sample) -> None:
        """Takes down what some changes of a type came to."""
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
