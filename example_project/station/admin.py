"""The departures in the admin."""

from __future__ import annotations

from django.contrib import admin

from durable_state.admin import SyncedModelAdmin

from .models import Departure


@admin.register(Departure)
class DepartureAdmin(SyncedModelAdmin):
    list_display = ["train", "destination", "leaves_at", "platform", "delay"]
