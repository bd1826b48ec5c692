"""Verifications that were asked for, and what they found."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .exact import ExactTextField, WideTextField
from .intent import Intent
from .located import Located
from .stream import Stream

__all__ = ["VerificationRun"]


class VerificationRun(Located, models.Model):
    """One verification of a stream, from when it is asked for; its result is kept.

    Invariant: ``worker`` changes only by compare-and-set, and only if it is empty or its last sign
    of life is too long ago on the database's clock; a worker writes only while the run is its own.
    """

    class State(models.TextChoices):
        ASKED = "asked", _("waiting for a worker")
        RUNNING = "running", _("running")
        EQUAL = "equal", _("equal")
        DIFFERS = "differs", _("differs")
        FAILED = "failed", _("could not be verified")

    OPEN = (State.ASKED, State.RUNNING)
    """The states of a run that has no result yet."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="verifications")
    intent = models.OneToOneField(Intent, on_delete=models.CASCADE, related_name="verification")
    """Who asked for it, and when."""

    state = models.CharField(max_length=8, choices=State.choices, default=State.ASKED)
    worker = models.CharField(max_length=255, default="", help_text="who carries it out")
    heard_at = models.DateTimeField(null=True, help_text="when the worker last gave a sign of life")
    ended_at = models.DateTimeField(null=True)

    entity_type = ExactTextField(default="")
    """The type of the one entity whose story is told; "" stands for none."""
    entity_key = ExactTextField(default="")

    phase = models.CharField(max_length=10, default="", help_text="folding or comparing")
    done = models.BigIntegerField(default=0, help_text="messages folded, or rows compared")
    total = models.BigIntegerField(default=0)

    result = models.JSONField(null=True)
    """What was found: see ``Verification.kept``. Its examples are for users who see the rows."""
    error = WideTextField(default="", help_text="why it could not be verified")

    class Meta:
        default_permissions = ()
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"verification {self.pk} of {self.stream_id}: {self.state}"
