"""Checks of how a model's rows are found: composite primary keys, managers, keys computed in
SQL.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from tests.app.fields import LoweredField

from .support.checking import check, ids, mapping


@isolate_apps("tests.app")
@pytest.mark.parametrize("names", [("room", "key"), ("key", "room")])
def test_a_composite_primary_key_makes_keys_unique(names: tuple[str, str]) -> None:
    """It covers the stream field and the key field; with one more, two rows could have one key
    (E005).
    """

    class Seat(models.Model):
        pk = models.CompositePrimaryKey(*names)
        room = models.CharField(max_length=100)
        key = models.CharField(max_length=40)
        taken = models.BooleanField(default=False)

        class Meta:
            app_label = "app"

    class Step(models.Model):
        pk = models.CompositePrimaryKey("room", "key", "number")
        room = models.CharField(max_length=100)
        key = models.CharField(max_length=40)
        number = models.IntegerField(default=0)

        class Meta:
            app_label = "app"

    assert check(mapping(model=Seat, stream_field="room", fields=["taken"])) == []
    assert check(mapping(model=Seat, stream_field="room", fields="__all__")) == []
    assert ids(check(mapping(model=Seat, fields=["taken", "room"]))) == ["E004", "E005"]
    found = check(mapping(model=Step, stream_field="room", fields=["number"]))
    assert ids(found) == ["E004", "E005"]  # the number is of the primary key, too


class Hiding(models.Manager[Any]):
    """Shows some rows only."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(hidden=False)


class Showing(models.Manager[Any]):
    """Shows all rows."""


@isolate_apps("tests.app")
@pytest.mark.parametrize("is_base", [True, False])
def test_a_base_manager_that_hides_rows_is_e023(is_base: bool) -> None:
    """Such a row could be neither updated nor deleted; a default manager may hide anything."""

    class Note(models.Model):
        key = models.CharField(max_length=40, unique=True)
        hidden = models.BooleanField(default=False)
        objects = Hiding()
        every = Showing()

        class Meta:
            app_label = "app"
            base_manager_name = "objects" if is_base else "every"

    found = check(mapping(model=Note, fields=[]))
    assert ids(found) == (["E023"] if is_base else [])
    assert all("Hiding" in message.msg for message in found)


@isolate_apps("tests.app")
def test_a_key_computed_in_sql_is_e002() -> None:
    """Nobody could tell the resulting key without asking the database."""

    class Tag(models.Model):
        key = LoweredField(max_length=40, unique=True)

        class Meta:
            app_label = "app"

    found = check(mapping(model=Tag, fields=[]))
    assert ids(found) == ["E002"]
    assert "in SQL" in found[0].msg
