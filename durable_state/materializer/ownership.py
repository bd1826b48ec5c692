"""Which stream a table without a stream field belongs to."""

from __future__ import annotations

from django.db import IntegrityError, models, transaction

from durable_state.errors import TableNotOwned
from durable_state.models import Stream, TableOwner
from durable_state.registry import EntityMapping

__all__ = ["Ownership"]


class Ownership:
    """The tables that belong to one stream; a table with a stream field is shared, row by row."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._known: dict[str, int] | None = None

    def has(self, mapping: EntityMapping) -> bool:
        """Whether the stream may have rows in the mapping's table."""
        return mapping.stream_field is not None or self._owner(mapping) == self._stream.pk

    def claim(self, mapping: EntityMapping) -> None:
        """Makes sure that the stream may write the table.

        Raises: TableNotOwned, if it belongs to another stream, or holds rows that no stream wrote.
        """
        if self.has(mapping):
            return

        # It belongs to another stream, or holds rows that no stream wrote.
        name, label = self._stream.name, mapping.model._meta.label
        owner = self._owners.filter(model=mapping.label).select_related("stream").first()
        if owner is not None:
            raise TableNotOwned(
                f"{label} belongs to the stream {owner.stream.name!r},"
                f" so {name!r} cannot write it.",
                "Give the mapping a stream_field so that streams can share the table,"
                " or `streams` so that only one is served.",
            )
        if mapping.model._base_manager.using(self._stream.using).exists():
            raise TableNotOwned(
                f"{label} holds rows already, and the stream {name!r} would treat them as its own.",
                "Give the mapping a stream_field, empty the table, or take the rows over:"
                f" manage.py durable_state add {name} URL --adopt.",
            )

        # From now on it is this stream's. Another that claims it now violates the constraint.
        try:
            with transaction.atomic(using=self._stream.using):
                self._owners.create(model=mapping.label, stream=self._stream)
        except IntegrityError:
            self._known = None
            self.claim(mapping)
        else:
            self._known = None

    @property
    def _owners(self) -> models.QuerySet[TableOwner]:
        return TableOwner.objects.using(self._stream.using)

    def _owner(self, mapping: EntityMapping) -> int | None:
        if self._known is None:
            self._known = dict(self._owners.values_list("model", "stream_id"))
        return self._known.get(mapping.label)
