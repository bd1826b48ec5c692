"""The registry of all mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .mapping import EntityMapping

__all__ = ["Registry", "register", "registry"]

M = TypeVar("M", bound=type[EntityMapping])


class Registry:
    """All mappings of the project, by entity type.

    A type may have several mappings as long as their ``streams`` do not overlap. Wrong
    registrations never fail an import: they are remembered, and reported by the system checks.
    """

    def __init__(self) -> None:
        self._mappings: list[EntityMapping] = []
        self.mistakes: list[tuple[str, str]] = []
        """The message and the hint of each registration that was not accepted."""
        self.named: set[type] = set()
        """The classes that were registered, accepted or not."""

    def __iter__(self) -> Iterator[EntityMapping]:
        return iter(self._mappings)

    def register(self, entity_type: str) -> Callable[[M], M]:
        """A class decorator that maps ``entity_type``; see ``durable_state.register``."""
        if isinstance(entity_type, type):  # @register without a type
            self.named.add(entity_type)
            self._mistake(
                f"{entity_type!r} is not registered for an entity type.",
                "Write @register('message') above the class.",
            )
            return entity_type

        def decorate(mapping_class: M) -> M:
            self.add(entity_type, mapping_class)
            return mapping_class

        return decorate

    def add(self, entity_type: str, mapping_class: type[EntityMapping]) -> None:
        """Registers one mapping class for one type."""
        if not (isinstance(mapping_class, type) and issubclass(mapping_class, EntityMapping)):
            self._mistake(
                f"What is registered for {entity_type!r} is not an EntityMapping:"
                f" {mapping_class!r}.",
                "Subclass durable_state.EntityMapping.",
            )
            return

        self.named.add(mapping_class)
        if not _is_entity_type(entity_type):
            self._mistake(
                f"{mapping_class!r} is registered for {entity_type!r}.",
                "An entity type is a text of 1 to 255 characters without NUL.",
            )
            return

        try:
            mapping = mapping_class(entity_type)
        except Exception as error:
            self._mistake(
                f"{mapping_class!r} cannot be made for {entity_type!r}: {type(error).__name__}:"
                f" {error}.",
                "A mapping is made with its entity type alone; do not override __init__.",
            )
            return

        for other in self._mappings:
            if other.entity_type == entity_type and other.may_meet(mapping):
                self._mistake(
                    f"{mapping!r} ({mapping.source}): the type is registered already,"
                    f" by {other!r} ({other.source}).",
                    "Remove one, or give both `streams` patterns that do not overlap.",
                )
                return
        mapping.registry = self
        self._mappings.append(mapping)

    def _mistake(self, message: str, hint: str) -> None:
        self.mistakes.append((message, hint))

    def remove(self, mapping_class: type[EntityMapping]) -> None:
        """Unregisters a mapping class (for tests)."""
        self._mappings = [each for each in self._mappings if type(each) is not mapping_class]
        self.named.discard(mapping_class)

    def remove_type(self, entity_type: str) -> None:
        """Unregisters all mappings of the type (for tests)."""
        self._mappings = [each for each in self._mappings if each.entity_type != entity_type]

    def clear(self) -> None:
        """Unregisters all mappings (for tests)."""
        self._mappings = []

    @contextmanager
    def isolated(self) -> Iterator[Registry]:
        """Undoes at the block's end what was registered and removed in it (for tests)."""
        mappings, mistakes, named = list(self._mappings), list(self.mistakes), set(self.named)
        try:
            yield self
        finally:
            self._mappings, self.mistakes, self.named = mappings, mistakes, named

    def find(self, entity_type: str, stream_name: str) -> EntityMapping | None:
        """The mapping of a type in a stream; None if the type is not registered for it."""
        for mapping in self._mappings:
            if mapping.entity_type == entity_type and mapping.serves(stream_name):
                return mapping
        return None

    def for_stream(self, stream_name: str) -> list[EntityMapping]:
        """All mappings that serve a stream, in the order of registration."""
        return [mapping for mapping in self._mappings if mapping.serves(stream_name)]

    def for_model(self, model: object) -> list[EntityMapping]:
        """All mappings of a model."""
        return [mapping for mapping in self._mappings if getattr(mapping, "model", None) is model]


def _is_entity_type(name: object) -> bool:
    return isinstance(name, str) and 1 <= len(name) <= 255 and "\0" not in name


registry = Registry()


def register(entity_type: str) -> Callable[[M], M]:
    """Registers the decorated EntityMapping for an entity type.

    Raises: nothing; mistakes are reported by ``manage.py check``.
    """
    return registry.register(entity_type)
