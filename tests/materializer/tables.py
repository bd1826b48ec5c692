"""Tables of models that one test needs, in one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, models

__all__ = ["tables"]


@contextmanager
def tables(using: str, *made: type[models.Model]) -> Iterator[None]:
    """The models' tables are there, parents first, while the block runs; not inside a transaction."""
    connection = connections[using]
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)
