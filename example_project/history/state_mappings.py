"""How the history stream's entities become rows."""

from __future__ import annotations

from durable_state import EntityMapping, camel_case, register

from .models import Author, Commit, File


@register("author")
class AuthorMapping(EntityMapping):
    model = Author
    key_field = "key"
    fields = ["name", "commits"]
    streams = ["history"]


@register("commit")
class CommitMapping(EntityMapping):
    model = Commit
    key_field = "key"
    fields = camel_case("author", "subject", "authored_at")
    streams = ["history"]


@register("file")
class FileMapping(EntityMapping):
    model = File
    key_field = "path"
    fields = ["mode", "blob", "commit"]
    streams = ["history"]
