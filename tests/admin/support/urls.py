"""A separate admin site: what the package registers, and the synced models of the test app."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import path

from durable_state.admin import SyncedModelAdmin
from tests.app.models import Annotation, Author, Commit, File, Message, Person, Profile

__all__ = ["site", "urlpatterns"]


class MessageAdmin(SyncedModelAdmin):
    """Rows whose room is NULL are the application's."""

    list_display = ["key", "text", "likes", "room"]


class FileAdmin(SyncedModelAdmin):
    """With a column of the application's own, editable in the list too."""

    list_display = ["path", "blob", "note"]
    list_editable = ["note"]


class CommitAdmin(SyncedModelAdmin):
    """Filtered by a parent that is also synced."""

    list_display = ["key", "subject"]
    list_filter = ["author", "author__commits"]
    search_fields = ["key", "author__key"]


class AnnotationAdmin(SyncedModelAdmin):
    """The application's own rows, whose synced parent can be chosen in the list."""

    list_display = ["id", "author"]
    list_editable = ["author"]


class MemberAdmin(SyncedModelAdmin):
    """Users, whose groups a test lets a stream write."""

    fields = ["groups"]


site = admin.AdminSite()
site._registry.update(
    {model: type(each)(model, site) for model, each in admin.site._registry.items()}
)
site._registry[User] = MemberAdmin(User, site)
site.register(Message, MessageAdmin)
site.register(File, FileAdmin)
site.register(Commit, CommitAdmin)
site.register(Annotation, AnnotationAdmin)
site.register([Author, Person, Profile], SyncedModelAdmin)

urlpatterns = [path("admin/", site.urls)]
