"""A room stands for a stream;
everything in it is materialized from there, many rooms in the same tables.
"""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from durable_state.models import Stream

__all__ = ["Message", "Presence", "Reaction", "Room", "Typing", "User"]


class Room(models.Model):
    """The application's own: a stream's name and purpose for people."""

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


class User(models.Model):
    """A visitor, as one room knows them."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="users")
    key = models.CharField(max_length=40)
    name = models.CharField(max_length=40)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_user_key")]

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """What someone said."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages")
    key = models.CharField(max_length=40)
    author = models.ForeignKey(User, on_delete=models.CASCADE, related_name="messages")
    text = models.TextField()
    sent_at = models.DateTimeField()

    class Meta:
        ordering = ["sent_at"]
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_message_key")]

    def __str__(self) -> str:
        return self.text


class Reaction(models.Model):
    """One emoji that one visitor gave to one message; the key is made of the three."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="reactions")
    key = models.CharField(max_length=120)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="reactions")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="reactions")
    emoji = models.CharField(max_length=16)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_reaction_key")]

    def __str__(self) -> str:
        return f"{self.emoji} by {self.user}"


class Typing(models.Model):
    """Someone is writing; the key is the user's.

    It is refreshed while it lasts and deleted when it ends.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="typing")
    key = models.CharField(max_length=40)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="typing")
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "typing"
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_typing_key")]

    def __str__(self) -> str:
        return f"{self.user} is typing"


class Presence(models.Model):
    """A window in which someone looks at the room.

    It is refreshed while it is open and deleted when it is closed; pages take one that was not
    refreshed for a while to be gone.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="presence")
    key = models.CharField(max_length=60)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="presence")
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "presence"
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_presence_key")]

    def __str__(self) -> str:
        return f"{self.user} is here"
