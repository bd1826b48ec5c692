"""What the station's stream is materialized into."""

from __future__ import annotations

from django.db import models

__all__ = ["Departure"]


class Departure(models.Model):
    """One line of the departures board."""

    train = models.CharField(max_length=20, unique=True)
    destination = models.CharField(max_length=60)
    leaves_at = models.CharField(max_length=5)
    platform = models.CharField(max_length=3)
    delay = models.PositiveIntegerField(default=0, help_text="minutes")

    class Meta:
        ordering = ["leaves_at", "train"]

    def __str__(self) -> str:
        return f"{self.leaves_at} {self.train} to {self.destination}"
