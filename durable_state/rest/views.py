"""What all views share: the policy alone decides what users may see."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.http import Http404
from rest_framework import status
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.settings import api_settings

from durable_state.feed.outage import is_away, warn_away
from durable_state.models import Stream
from durable_state.operations import StreamReport
from durable_state.policy import Insight, readable_streams

__all__ = ["NAME", "PolicyView"]

NAME = {"name": "name of the stream"}


class DatabaseAway(APIException):
    """The database does not answer for the moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database does not answer now; try again."
    default_code = "database_away"
    wait = 5
    """Seconds; REST framework sends it as ``Retry-After``."""


class PlainJson(JSONRenderer):
    """JSON in ASCII, which can represent any text in the database."""

    ensure_ascii = True


class PolicyView(GenericAPIView[Any]):
    """A view that asks only the policy what the user may see.

    From the project's REST_FRAMEWORK it takes authentication, throttles, and whether there are
    browsable pages. Other settings would change what is documented.
    """

    # The policy decides; anonymous users who may see nothing are asked to sign in.
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

    def handle_exception(self, exc: Exception) -> Any:
        """As REST framework's; 503 where the database does not answer."""
        if is_away(exc):
            warn_away(self.request.path, exc)
            # A page for browsers would show who is signed in, and so ask the database.
            self.request.accepted_renderer = PlainJson()
            self.request.accepted_media_type = PlainJson.media_type
            exc = DatabaseAway()
        return super().handle_exception(exc)

    def ask_to_sign_in(self) -> None:
        """Asks anonymous users to sign in. Raises: NotAuthenticated."""
        if not self.user.is_authenticated:
            raise NotAuthenticated
