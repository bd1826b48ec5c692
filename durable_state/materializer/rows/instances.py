"""Makes and reads instances without running code of the model's own, which may look for files
that are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django.db
from django.db import models
from django.db.models.base import ModelState
from django.db.models.deletion import ProtectedError

__all__ = ["new_instance", "read_instances"]


def new_instance(model: type[models.Model], values: Mapping[str, Any]) -> models.Model:
    """An instance with its defaults and these values, by attname or ``pk``.

    The values are not passed to the class, which may process them: it would open an image for its
    width and height.
    """
    made = model()
    for name, value in values.items():
        if name == "pk":
            made.pk = value
        else:
            made.__dict__[name] = value
    return made


def read_instances(rows: models.QuerySet[Any]) -> list[Any]:
    """The rows of a queryset; where the model's own code raises, instances made without it.

    Raises: ProtectedError, where a field cannot read its column, so that the row's contents are
    unknown.
    """
    try:
        return list(rows)
    except django.db.Error:
        raise
    except Exception:
        model, using = rows.model, rows.db
    attnames = [field.attname for field in model._meta.concrete_fields]
    try:
        found = list(rows.select_related(None).values_list(*attnames))
    except django.db.Error:
        raise
    except Exception as error:
        label = model._meta.label
        raise ProtectedError(
            f"A row of {label} cannot be read: {type(error).__name__}: {error}", set()
        ) from error
    return [_bare(model, dict(zip(attnames, values, strict=True)), using) for values in found]


def _bare(model: type[models.Model], values: dict[str, Any], using: str) -> models.Model:
    """As ``Model.from_db`` makes it, but without ``__init__`` and its signals."""
    made = model.__new__(model)
    made._state = ModelState()
    made._state.db, made._state.adding = using, False
    made.__dict__.update(values)
    return made
