"""What is known of the types of a stream: passed over, folded by which mapping, in need of a reset; and whose the tables are."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError, transaction

from durable_state.errors import TableNotOwned
from durable_state.models import Stream, TableOwner, TypeState, entity_digest

from .plan import TypePlan

__all__ = ["TypeBook"]


class TypeBook:
    """The types of one stream, read once for a commit and written where something changed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._using = stream._state.db
        self._states = {state.digest: state for state in TypeState.objects.using(self._using).filter(stream=stream)}
        self._owned: set[str] = set()

    def accepts(self, plan: TypePlan) -> bool:
        """Whether changes of the type may go to the rows: not where earlier ones were passed over, for the rows would be a part only."""
        state = self._state(plan.type)
        if state.fingerprint == plan.mapping.fingerprint:
            return True
        if state.fingerprint == "" and state.unregistered == 0:
            state.fingerprint = plan.mapping.fingerprint
            state.save(using=self._using)
            return True
        if not state.needs_reset:
            state.needs_reset = True
            state.save(using=self._using)
        return state.fingerprint != ""

    def pass_over(self, entity_type: str, count: int) -> None:
        """Counts messages of a type that has no mapping, or whose earlier messages had none."""
        state = self._state(entity_type)
        state.unregistered += count
        state.save(using=self._using)

    def renew(self, plans: Iterable[TypePlan]) -> None:
        """The rows of these types were made anew, from all there is."""
        for plan in plans:
            state = self._state(plan.type)
            if state.needs_reset or state.unregistered or state.fingerprint != plan.mapping.fingerprint:
                state.fingerprint, state.unregistered, state.needs_reset = plan.mapping.fingerprint, 0, False
                state.save(using=self._using)

    def claim_table(self, plan: TypePlan) -> None:
        """Makes sure that the type's table is this stream's to write.

        Raises: TableNotOwned, where it belongs to another stream, or holds rows that nobody synced.
        """
        mapping = plan.mapping
        if mapping.stream_field is not None or mapping.label in self._owned:
            return
        owner = TableOwner.objects.using(self._using).filter(model=mapping.label).select_related("stream").first()
        name = self._stream.name
        if owner is None:
            if mapping.model._base_manager.using(self._using).exists():
                raise TableNotOwned(
                    f"{mapping.model._meta.label} holds rows already, and the stream {name!r} would take them for its own.",
                    f"Give the mapping a stream_field, empty the table, or take the rows over: durable_state add {name} URL --adopt.",
                )
            try:
                with transaction.atomic(using=self._using):
                    TableOwner.objects.using(self._using).create(model=mapping.label, stream=self._stream)
            except IntegrityError:
                return self.claim_table(plan)
        elif owner.stream_id != self._stream.pk:
            raise TableNotOwned(
                f"{mapping.model._meta.label} belongs to the stream {owner.stream.name!r}, so {name!r} cannot write it.",
                "Give the mapping a stream_field so that streams can share the table, or `streams` so that only one is served.",
            )
        self._owned.add(mapping.label)

    def _state(self, entity_type: str) -> TypeState:
        digest = entity_digest(entity_type, "")
        if digest not in self._states:
            printable = entity_type.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
            self._states[digest] = TypeState(stream=self._stream, digest=digest, type=printable)
        return self._states[digest]
