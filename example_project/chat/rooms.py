"""The rooms that a fresh example has."""

from __future__ import annotations

from durable_state.models import Stream

from .models import Room

__all__ = ["ROOMS", "make_rooms"]

ROOMS = [
    ("lobby", "Lobby", "Say hello, and open a second window to see it arrive"),
    ("workshop", "Workshop", "What are you building?"),
    ("garden", "Garden", "Anything but work"),
]


def make_rooms(server: str) -> list[Room]:
    """Makes the rooms and their streams' rows;
    the streams on the server are somebody else's to make.
    """
    rooms = []
    for slug, title, topic in ROOMS:
        stream = Stream.objects.create(name=f"chat-{slug}", url=f"{server}/chat/{slug}")
        rooms.append(Room.objects.create(slug=slug, title=title, topic=topic, stream=stream))
    return rooms
