"""What all views have in common: the policy says what may be seen, and nothing else does."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.http import Http404
from rest_framework.exceptions import NotAuthenticated
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.settings import api_settings

from durable_state.models import Stream
from durable_state.operations import StreamReport
from durable_state.policy import Insight, readable_streams

__all__ = ["NAME", "PolicyView"]

NAME = {"name": "name of the stream"}


class PlainJson(JSONRenderer):
    """JSON in ASCII, which can represent any text of the database."""

    ensure_ascii = True


class PolicyView(GenericAPIView[Any]):
    """A view that asks the policy, and nothing else, what the user may see.

    Of the project's REST_FRAMEWORK it takes who is who, the throttles, and whether there are pages
    for browsers. The rest would change what is documented.
    """

    # The policy decides; whoever may see nothing and is not signed in is asked to sign in.
    permission_classes = [AllowAny]
    filter_backends: list[Any] = []
    versioning_class = None
    renderer_classes = [PlainJson]
    has_pages = True
    """Whether it offers browsable pages if the project does."""
    queryset = Stream.objects.none()

    def get_renderers(self) -> list[BaseRenderer]:
        """Renders JSON, and browsable pages if the project has them."""
        renderers: list[BaseRenderer] = super().get_renderers()
        theirs: Any = api_settings.DEFAULT_RENDERER_CLASSES
        for each in theirs:
            if self.has_pages and issubclass(each, BrowsableAPIRenderer):
                renderers.append(each())
        return renderers

    @property
    def user(self) -> Any:
        """The user; anonymous even if the project's ``UNAUTHENTICATED_USER`` is None."""
        user: Any = self.request.user
        return AnonymousUser() if user is None else user

    def readable_streams(self) -> models.QuerySet[Stream]:
        """Returns the streams that the user may read."""
        return readable_streams(self.user)

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises: NotAuthenticated, Http404."""
        stream = self.readable_streams().filter(name=name).first()
        if stream is None:
            self.ask_to_sign_in()
            raise Http404
        return stream

    def described(self, found: StreamReport, stream: Stream | None = None) -> dict[str, Any]:
        """The report of the stream; ``last_error`` is whole for those who see the rows that it
        quotes.
        """
        shown = found.to_json()
        if found.last_error_detail:
            stream = stream or self.stream(found.name)
            if Insight(self.user, stream).sees_all(found.last_error_type):
                shown["last_error"] = f"{found.last_error} {found.last_error_detail}"
        return shown

    def ask_to_sign_in(self) -> None:
        """Raises: NotAuthenticated, where nobody is signed in."""
        if not self.user.is_authenticated:
            raise NotAuthenticated
