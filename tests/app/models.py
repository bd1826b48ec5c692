"""The models that the tests materialize into: one for each kind of mapping."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import Group
from django.db import models

from durable_state.models import Stream

from . import grove as grove  # Django finds its models through this module
from .fields import LoweredField, MirroredField, ShoutedField


class Author(models.Model):
    """A table that belongs to one stream at a time; parent of Commit."""

    key = models.CharField(max_length=100, unique=True)
    commits = models.IntegerField(default=0)


class Commit(models.Model):
    """A child by foreign key, with a date."""

    key = models.CharField(max_length=100, unique=True)
    author = models.ForeignKey(Author, on_delete=models.CASCADE)
    subject = models.TextField()
    authored_at = models.DateTimeField()


class File(models.Model):
    """Long keys, and a column of the application's own."""

    path = models.CharField(max_length=400, unique=True)
    blob = models.CharField(max_length=40)
    mode = models.CharField(max_length=6)
    commit = models.CharField(max_length=40)
    note = models.TextField(default="")


class Message(models.Model):
    """Many streams in one table, told apart by the stream's name."""

    room = models.CharField(max_length=100, null=True)
    key = models.CharField(max_length=40)
    text = models.CharField(max_length=20)
    likes = models.IntegerField(null=True)
    edited = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="app_message_key")]


class Profile(models.Model):
    """`update` merges; a foreign key names the stream."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    key = models.CharField(max_length=40)
    name = models.CharField(max_length=20, default="anonymous")
    score = models.IntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="app_profile_key")]


class Setting(models.Model):
    """The whole value, any JSON, in one field."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    key = models.CharField(max_length=40)
    data = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="app_setting_key")]


class Score(models.Model):
    """Made by `prepare`, which refuses some values and makes no row of others."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    number = models.IntegerField()
    points = models.IntegerField()
    label = models.CharField(max_length=20)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "number"], name="app_score_key")]


class Room(models.Model):
    """An object of the application that stands for a stream."""

    title = models.CharField(max_length=50)
    stream = models.OneToOneField(Stream, on_delete=models.CASCADE)


class Person(models.Model):
    """A second unique column, and a parent of its own type; scoped by Room."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE)
    key = models.CharField(max_length=40)
    email = models.CharField(max_length=40, null=True, unique=True)
    boss = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="app_person_key")]


class Remark(models.Model):
    """The application's own rows that point to synced ones."""

    author = models.ForeignKey(Author, on_delete=models.CASCADE)
    text = models.CharField(max_length=100)


class Employee(models.Model):
    """Merged, with a unique value, a superior to wait for, and a CHECK: everything that can
    happen to a merge.
    """

    key = models.CharField(max_length=40, unique=True)
    email = models.CharField(max_length=40, null=True, unique=True)
    name = models.CharField(max_length=40, default="anonymous")
    grade = models.IntegerField(default=1)
    boss = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(grade__lte=10), name="app_employee_grade")
        ]


class Quota(models.Model):
    """A CHECK that compares a synced column with one of the application's own."""

    key = models.CharField(max_length=40, unique=True)
    used = models.IntegerField()
    spare = models.IntegerField(default=0)
    cap = models.IntegerField(default=10)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(used__lte=models.F("cap")), name="app_quota_cap"
            )
        ]


class Page(models.Model):
    """A unique value that cannot be replaced by NULL."""

    key = models.CharField(max_length=40, unique=True)
    slug = models.CharField(max_length=40, unique=True)
    size = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(size__lte=10), name="app_page_size")
        ]


class Bookmark(models.Model):
    """The application's own rows that point to pages."""

    page = models.ForeignKey(Page, on_delete=models.CASCADE)


class Device(models.Model):
    """Many streams in one table, whose keys are unique across all of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    serial = models.CharField(max_length=40, unique=True)
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    charge = models.IntegerField(default=0)


class Ticket(models.Model):
    """Its key is the number that the database generates; a child of a table that no stream
    fills.
    """

    id = models.AutoField(primary_key=True)
    priority = models.IntegerField(default=0)
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, to_field="name")


class Stock(models.Model):
    """Columns that fill themselves: by the database, from other columns, at each save."""

    key = models.CharField(max_length=40, unique=True)
    amount = models.IntegerField(db_default=7)
    reserved = models.IntegerField(default=0)
    code = models.CharField(max_length=10, null=True, unique=True)
    following = models.GeneratedField(
        expression=models.F("reserved") + 1, output_field=models.IntegerField(), db_persist=True
    )
    made = models.DateTimeField(auto_now_add=True)
    seen = models.DateTimeField(auto_now=True)
    order = models.IntegerField(default=1, db_column="select")


class AllFields(models.Model):
    """One column of each plain kind, to compare conversion with what the databases return."""

    small = models.SmallIntegerField(null=True)
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    boolean = models.BooleanField(null=True)
    floating = models.FloatField(null=True)
    money = models.DecimalField(null=True, max_digits=12, decimal_places=2)
    precise = models.DecimalField(null=True, max_digits=30, decimal_places=10)
    char = models.CharField(null=True, max_length=8)
    text = models.TextField(null=True)
    slug = models.SlugField(null=True, max_length=8)
    upload = models.FileField(null=True, max_length=12)
    path = models.FilePathField(null=True, max_length=8)
    moment = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    time = models.TimeField(null=True)
    span = models.DurationField(null=True)
    uuid = models.UUIDField(null=True)
    document = models.JSONField(null=True)
    required_document = models.JSONField(default=dict)
    blob = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)


class Parcel(models.Model):
    """Columns of the application's own, of each kind: set by Django, by a callable, by the
    database, computed.
    """

    key = models.CharField(max_length=40, unique=True)
    label = models.CharField(max_length=20)
    sealed = MirroredField(max_length=20, null=True)
    grams = models.IntegerField(db_default=5)
    document = models.JSONField(null=True)
    arrived_at = models.DateTimeField(auto_now_add=True)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    tag = models.CharField(max_length=10, default="new")
    shelf = models.IntegerField(db_default=7)
    picture = models.FileField(blank=True)
    doubled = models.GeneratedField(
        expression=models.F("shelf") * 2, output_field=models.IntegerField(), db_persist=True
    )


class Stamp(models.Model):
    """Fields whose values only the ORM can write."""

    code = models.CharField(max_length=40, primary_key=True)
    label = LoweredField(max_length=20)
    shout = ShoutedField(max_length=20)


class Folder(models.Model):
    """A parent of its own type that must not be missing: the topmost ones are their own parents."""

    key = models.CharField(max_length=40, unique=True)
    parent = models.ForeignKey("self", on_delete=models.CASCADE)
    size = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(size__lte=10), name="app_folder_size")
        ]


class Team(models.Model):
    """One half of a circle of two types; its link may be NULL."""

    key = models.CharField(max_length=40, unique=True)
    captain = models.ForeignKey("Player", null=True, on_delete=models.CASCADE, related_name="leads")


class Player(models.Model):
    """The other half; its link may not be NULL."""

    key = models.CharField(max_length=40, unique=True)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)


class Lock(models.Model):
    """Half of a circle of two types, neither of which can exist without the other; identified by
    a number of the application's.
    """

    key = models.CharField(max_length=40, unique=True)
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    spare = models.ForeignKey("DoorKey", on_delete=models.PROTECT, related_name="spare_for")


class DoorKey(models.Model):
    """The other half; each lock has one."""

    key = models.CharField(max_length=40, unique=True)
    lock = models.OneToOneField(Lock, on_delete=models.CASCADE)


class Twin(models.Model):
    """Its key is its primary key, and each is the only parent of another."""

    code = models.CharField(max_length=40, primary_key=True)
    other = models.OneToOneField("self", on_delete=models.DO_NOTHING)


class Clipping(models.Model):
    """Rows of one stream that point to rows of another: by a nullable foreign key, and by one
    that is not.
    """

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE)
    key = models.CharField(max_length=40)
    folder = models.ForeignKey(Folder, on_delete=models.CASCADE)
    author = models.ForeignKey(Author, null=True, on_delete=models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="app_clipping_key")]


class Annotation(models.Model):
    """The application's own rows, whose synced parent may be missing."""

    author = models.ForeignKey(Author, null=True, default=None, on_delete=models.CASCADE)


class Loan(models.Model):
    """Rows told apart by a foreign key that may be NULL, and protects the stream from deletion."""

    stream = models.ForeignKey(Stream, null=True, on_delete=models.PROTECT, to_field="name")
    key = models.CharField(max_length=40)
    title = models.CharField(max_length=40, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="app_loan_key")]
