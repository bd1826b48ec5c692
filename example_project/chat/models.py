"""The chat's tables: rooms, which are the application's own, and what their streams hold."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from durable_state.models import Stream

__all__ = ["Message", "Presence", "Reaction", "Room", "Typing", "User"]


class Room(models.Model):
    """A stream's title and topic. No stream writes here."""

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=50)
    topic = models.CharField(max_length=200, blank=True)
    stream = models.OneToOneField(Stream, on_delete=models.CASCADE, related_name="room")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("chat:room", args=[self.slug])


class InRoom(models.Model):
    """An entity of a room's stream. Its key is unique in the room."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE)
    key = models.CharField(max_length=120)

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(fields=["room", "key"], name="%(app_label)s_%(class)s_key")
        ]


class User(InRoom):
    """A visitor, as one room knows them."""

    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Message(InRoom):
    """Something that a user said."""

    author = models.ForeignKey(User, on_delete=models.CASCADE)
    text = models.TextField()
    sent_at = models.DateTimeField()

    class Meta(InRoom.Meta):
        ordering = ["sent_at"]

    def __str__(self) -> str:
        return self.text


class Reaction(InRoom):
    """One emoji that a user gave to a message. The key is made of the three."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    emoji = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"{self.emoji} by {self.user}"


class Typing(InRoom):
    """A user who is writing. The key is the user's.

    Their page refreshes it meanwhile, and deletes it afterwards.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    seen_at = models.DateTimeField()

    class Meta(InRoom.Meta):
        verbose_name_plural = "typing"

    def __str__(self) -> str:
        return f"{self.user} is typing"


class Presence(InRoom):
    """A window in which a user looks at the room.

    Its page refreshes it while it is open, and deletes it when it closes. Pages ignore one that
    was not refreshed for a while: its browser went away without a word.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    seen_at = models.DateTimeField()

    class Meta(InRoom.Meta):
        verbose_name_plural = "presence"

    def __str__(self) -> str:
        return f"{self.user} is here"
