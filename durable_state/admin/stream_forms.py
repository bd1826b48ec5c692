"""The forms of a stream in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from durable_state.conf import get_settings
from durable_state.errors import ConfigurationError
from durable_state.models import Stream
from durable_state.protocol.url import check_url

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Stream]
else:
    ModelForm = forms.ModelForm

__all__ = ["AddStreamForm", "EditStreamForm"]

_URL_INPUT = forms.TextInput(
    attrs={"class": "vTextField", "inputmode": "url", "spellcheck": "false"}
)


class AddStreamForm(ModelForm):
    """The form that adds a stream."""

    adopt = forms.BooleanField(
        required=False,
        label=_("Take over existing rows"),
        help_text=_(
            "Rows that are already in its tables become the stream's;"
            " those that it does not hold are deleted."
        ),
    )

    class Meta:
        model = Stream
        fields = ["name", "url", "live"]
        labels = {"url": _("URL"), "live": _("Follow by")}
        help_texts = {
            "name": _("Up to 100 letters, digits, dots, hyphens and underscores."),
            "url": _("The stream's http(s) address, without a user name or password."),
            "live": _("How new messages arrive once the end of the stream is reached."),
        }
        widgets = {"url": _URL_INPUT}

    def clean_url(self) -> str:
        return _checked(self.cleaned_data["url"])


class EditStreamForm(forms.Form):
    """Changes where a stream is read. It never shows the current URL, whose query may be secret."""

    url = forms.CharField(
        label=_("New URL"),
        required=False,
        max_length=2000,
        widget=_URL_INPUT,
        help_text=_("Leave it empty to keep the current one."),
    )
    live = forms.ChoiceField(
        label=_("Follow by"), choices=Stream._meta.get_field("live").choices or ()
    )
    heartbeat_seconds = forms.IntegerField(
        label=_("Heartbeat"),
        required=False,
        min_value=1,
        max_value=3600,
        help_text=_(
            "How many seconds the server may be silent while it has nothing new."
            " Empty: 75, and 45 for long-poll."
        ),
    )

    def clean_heartbeat_seconds(self) -> int:
        """Returns 0 for the default."""
        return self.cleaned_data["heartbeat_seconds"] or 0

    def clean_url(self) -> str | None:
        url = self.cleaned_data["url"]
        return _checked(url) if url else None


def _checked(url: str) -> str:
    try:
        check_url(url, get_settings().allowed_urls)
    except ConfigurationError as error:
        raise ValidationError(str(error)) from error
    return url
