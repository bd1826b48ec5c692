"""What the tables cost, and what the project's admin shows of them."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models

MODELS = list(apps.get_app_config("durable_state").get_models())
Columns = tuple[str, ...]


def indexes_of(model: type[models.Model]) -> tuple[list[Columns], list[Columns]]:
    """The columns of the plain indexes, and of the unique ones."""
    fields = model._meta.local_fields
    plain: list[Columns] = [
        (field.name,) for field in fields if getattr(field, "db_index", False) and not field.unique
    ]
    plain += [tuple(name.lstrip("-") for name in index.fields) for index in model._meta.indexes]
    unique: list[Columns] = [(field.name,) for field in fields if field.unique]
    for constraint in model._meta.constraints:
        assert isinstance(constraint, models.UniqueConstraint)
        unique.append(tuple(constraint.fields))
    return plain, unique


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_index_is_the_beginning_of_another(model: type[models.Model]) -> None:
    """The longer one serves the same queries, and each index costs every write."""
    plain, unique = indexes_of(model)
    for number, columns in enumerate(plain):
        others = plain[:number] + plain[number + 1 :] + unique
        assert not [each for each in others if each[: len(columns)] == columns]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_only_what_pages_show_has_permissions(model: type[models.Model]) -> None:
    """Administrators who grant permissions have no use for those of internal tables."""
    permissions = ("add", "change", "delete", "view") if admin.site.is_registered(model) else ()
    assert tuple(model._meta.default_permissions) == permissions


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_what_pages_show_has_a_name(model: type[models.Model]) -> None:
    """One that is translated."""
    if admin.site.is_registered(model):
        assert not isinstance(model._meta.verbose_name, str)
