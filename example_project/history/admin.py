"""The history in the admin: what the stream writes is read-only and live, a file's note is ours."""

from __future__ import annotations

from django.contrib import admin

from durable_state.admin import SyncedModelAdmin

from .models import Author, Commit, File


@admin.register(Author)
class AuthorAdmin(SyncedModelAdmin):
    list_display = ["name", "commits", "key"]


@admin.register(Commit)
class CommitAdmin(SyncedModelAdmin):
    list_display = ["key", "subject", "author", "authored_at"]
    list_select_related = ["author"]
    search_fields = ["key", "subject"]
    date_hierarchy = "authored_at"


@admin.register(File)
class FileAdmin(SyncedModelAdmin):
    list_display = ["path", "mode", "blob", "commit", "note"]
    list_select_related = ["commit"]
    search_fields = ["path", "note"]
