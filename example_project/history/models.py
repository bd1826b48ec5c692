"""What the history stream is materialized into. The tables belong to that one stream."""

from __future__ import annotations

from django.db import models

__all__ = ["Author", "Commit", "File"]


class Author(models.Model):
    """Someone who wrote commits, by a hash of the e-mail address, and the name of the newest."""

    key = models.CharField(max_length=64, unique=True)
    name = models.TextField(blank=True, default="")
    commits = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name or self.key


class Commit(models.Model):
    """One commit of the branch's first-parent history."""

    key = models.CharField(max_length=64, unique=True, help_text="object id")
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="authored")
    subject = models.TextField()
    authored_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-authored_at"]

    def __str__(self) -> str:
        return f"{self.key[:10]} {self.subject}"


class File(models.Model):
    """One path of the newest tree:
    what `git ls-tree -r` prints, and the commit that last touched it.
    """

    path = models.CharField(max_length=1000, unique=True)
    mode = models.CharField(max_length=6)
    blob = models.CharField(max_length=64)
    commit = models.ForeignKey(Commit, on_delete=models.CASCADE, related_name="files")
    note = models.TextField(
        blank=True,
        default="",
        help_text="The application's own: no mapping names it, so the stream leaves it alone.",
    )

    class Meta:
        ordering = ["path"]

    def __str__(self) -> str:
        return self.path
