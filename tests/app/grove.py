"""Models whose rows hold the application's own data, which must survive whatever the stream does
for a moment.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from .fields import CaselessField


class Branch(models.Model):
    """A parent of its own type, with a unique value that must not be NULL."""

    key = models.CharField(max_length=40, unique=True)
    slug = models.CharField(max_length=40, unique=True)
    boss = models.ForeignKey("self", null=True, on_delete=models.CASCADE)
    note = models.TextField(default="")


class Leaf(models.Model):
    """A child, with a unique value that may be NULL, and columns that Django and the application
    fill.
    """

    key = models.CharField(max_length=40, unique=True)
    branch = models.ForeignKey(Branch, on_delete=models.CASCADE)
    tag = models.CharField(max_length=40, null=True, unique=True)
    note = models.TextField(default="")
    details = models.JSONField(null=True)
    seen_at = models.DateTimeField(auto_now=True)


class Mark(models.Model):
    """The application's rows that are deleted with a leaf."""

    leaf = models.ForeignKey(Leaf, on_delete=models.CASCADE)


class Guard(models.Model):
    """The application's rows that protect a leaf from being deleted."""

    leaf = models.ForeignKey(Leaf, on_delete=models.PROTECT)


class Sign(models.Model):
    """Unique by an expression, by a condition, and by the database's collation."""

    key = models.CharField(max_length=40, unique=True)
    email = CaselessField(max_length=40)
    phone = models.CharField(max_length=40, default="")
    active = models.BooleanField(default=False)
    note = models.TextField(default="")

    class Meta:
        constraints = [
            # MariaDB has no unique expressions, PostgreSQL no such collation.
            models.UniqueConstraint(fields=["email"], name="app_sign_caseless"),
            models.UniqueConstraint(Lower("email"), name="app_sign_email"),
            models.UniqueConstraint(
                fields=["phone"], condition=models.Q(active=True), name="app_sign_phone"
            ),
        ]


class Country(models.Model):
    """Others refer to it by a column that the stream writes."""

    key = models.CharField(max_length=40, unique=True)
    code = models.CharField(max_length=10, unique=True)


class City(models.Model):
    """A child by that column."""

    key = models.CharField(max_length=40, unique=True)
    country = models.ForeignKey(Country, to_field="code", on_delete=models.CASCADE)


class Depot(models.Model):
    """Others refer to it by a unique column that the stream writes, and that may be NULL; it has
    another unique one.
    """

    key = models.CharField(max_length=40, unique=True)
    code = models.CharField(max_length=10, null=True, unique=True)
    phone = models.CharField(max_length=10, null=True, unique=True)


class Truck(models.Model):
    """A child that refers to it twice."""

    key = models.CharField(max_length=40, unique=True)
    depot = models.ForeignKey(Depot, to_field="code", on_delete=models.CASCADE, related_name="+")
    spare = models.ForeignKey(
        Depot, to_field="code", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    note = models.TextField(default="")


class Visit(models.Model):
    """The application's rows that refer to that column."""

    country = models.ForeignKey(Country, to_field="code", on_delete=models.CASCADE)


class Hamper(models.Model):
    """A table that no stream writes, between two that streams write."""

    branch = models.ForeignKey(Branch, on_delete=models.CASCADE)


class Bottle(models.Model):
    """A child of the table in between."""

    key = models.CharField(max_length=40, unique=True)
    hamper = models.ForeignKey(Hamper, on_delete=models.CASCADE)
    note = models.TextField(default="")


class Seal(models.Model):
    """Unique values that cannot be replaced for a moment, and a parent of its own type."""

    key = models.CharField(max_length=40, unique=True)
    front = models.CharField(max_length=1, unique=True)
    back = models.CharField(max_length=1, unique=True)
    above = models.ForeignKey("self", null=True, on_delete=models.CASCADE)


class Desk(models.Model):
    """A child that gets another parent if its own is missing."""

    key = models.CharField(max_length=40, unique=True)
    branch = models.ForeignKey(Branch, null=True, default=None, on_delete=models.SET_DEFAULT)


class Gauge(models.Model):
    """A CHECK that only the database evaluates."""

    key = models.CharField(max_length=40, unique=True)
    level = models.IntegerField()
    name = models.CharField(max_length=40, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(level__gte=0), name="app_gauge_level")
        ]
