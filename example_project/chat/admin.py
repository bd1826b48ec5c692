"""The chat in the admin: rooms are the application's own, the rest is the streams'."""

from __future__ import annotations

from django.contrib import admin

from durable_state.admin import SyncedModelAdmin

from .models import Message, Presence, Reaction, Room, Typing, User


@admin.register(Room)
# Django's class takes no parameter at run time.
class RoomAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["title", "topic", "stream"]
    prepopulated_fields = {"slug": ["title"]}


@admin.register(User)
class UserAdmin(SyncedModelAdmin):
    list_display = ["name", "room", "key"]
    list_filter = ["room"]


@admin.register(Message)
class MessageAdmin(SyncedModelAdmin):
    list_display = ["text", "author", "room", "sent_at"]
    list_select_related = ["author", "room"]
    list_filter = ["room"]
    search_fields = ["text"]


@admin.register(Reaction)
class ReactionAdmin(SyncedModelAdmin):
    list_display = ["emoji", "user", "message", "room"]
    list_select_related = ["user", "message", "room"]
    list_filter = ["room"]


@admin.register(Typing)
class TypingAdmin(SyncedModelAdmin):
    list_display = ["user", "room", "seen_at"]
    list_select_related = ["user", "room"]


@admin.register(Presence)
class PresenceAdmin(SyncedModelAdmin):
    list_display = ["user", "room", "seen_at"]
    list_select_related = ["user", "room"]
