"""Three tables, like those of a chat."""

from __future__ import annotations

from django.db import models


class Message(models.Model):
    """Text, numbers, a flag and a time."""

    stream = models.CharField(max_length=100)
    key = models.CharField(max_length=40)
    text = models.CharField(max_length=200)
    likes = models.IntegerField(default=0)
    edited = models.BooleanField(default=False)
    sent_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="bench_message_key")]


class Profile(models.Model):
    """Mostly short columns."""

    stream = models.CharField(max_length=100)
    key = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    score = models.IntegerField()
    about = models.TextField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="bench_profile_key")]


class Setting(models.Model):
    """A JSON document."""

    stream = models.CharField(max_length=100)
    key = models.CharField(max_length=40)
    data = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stream", "key"], name="bench_setting_key")]
