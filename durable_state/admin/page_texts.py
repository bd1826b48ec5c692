"""What scripts say on a page, in the reader's language: Django's catalog for scripts holds the
admin's own texts only.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

__all__ = ["page_texts"]


def page_texts() -> dict[str, str]:
    """By the names that the scripts use."""
    return {
        "stale": _("Not updated since %(time)s: %(why)s"),
        "signed_out": _("you are signed out."),
        "removed": _("the stream was removed."),
        "answers": _("the web server answers %(status)s. Retrying automatically."),
        "away": _("the web server cannot be reached. Retrying automatically."),
        "reconnecting": _("Reconnecting…"),
        "one_new_row": _("1 new row: show"),
        "new_rows": _("%(count)s new rows: show"),
        "unreadable": _("You can no longer see this page"),
        "deleted": _("The stream has deleted this row"),
    }
