"""``{% load durable_state %}``: makes parts of any page live."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from django import template
from django.http import HttpRequest
from django.template.base import FilterExpression, Node, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.templatetags.static import static
from django.urls import get_script_prefix
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from durable_state.pages import Part, noticing_messages, parts_of

__all__ = ["live", "register"]

register = template.Library()

_ITS_OWN = ("types", "keys", "id", "tag")
_NO_REQUEST = "no-request"
_NOT_BY_GET = "not-by-get"
_NOT_READABLE = "not-readable"


@register.tag
def live(parser: Parser, token: Token) -> LiveNode:
    """Makes the part of the page that it encloses follow one or more streams.

    ``{% live "tasks" "people" %}…{% endlive %}`` is rendered as usual, inside a ``div``. When one
    of the streams changes, the page fetches that part again and updates what is different in it;
    focus, scroll position and what is being typed are kept. Options: with ``types="task person"``
    or ``keys=key`` (or a list), only their changes count; ``id="board"`` is the part's name, which
    a part in a loop needs; ``tag="tbody"`` is the element around it. Any other option becomes an
    attribute (``class="board"``, ``aria_live="polite"``).
    """
    name, *words = token.split_contents()
    streams: list[FilterExpression] = []
    while words and "=" not in words[0].split('"')[0].split("'")[0]:
        streams.append(parser.compile_filter(words.pop(0)))
    options = token_kwargs(words, parser)
    if words:
        raise template.TemplateSyntaxError(
            f"{name!r} does not understand {words[0]!r}: streams come first, then options."
        )
    if not streams:
        raise template.TemplateSyntaxError(f'{name!r} needs a stream: {{% {name} "tasks" %}}.')
    content = parser.parse((f"end{name}",))
    parser.delete_first_token()
    return LiveNode(streams, options, content)


class LiveNode(Node):
    """The tag, with the content between ``{% live %}`` and ``{% endlive %}``."""

    def __init__(
        self,
        streams: list[FilterExpression],
        options: dict[str, FilterExpression],
        content: NodeList,
    ) -> None:
        self.streams = streams
        self.options = options
        self.nodelist = content

    def render(self, context: Context) -> SafeString:
        """The part inside its element, followed by its scripts."""
        options = {name: value.resolve(context) for name, value in self.options.items()}
        request: HttpRequest | None = context.get("request")
        named = [value.resolve(context) for value in self.streams]
        streams = [str(getattr(each, "name", each)) for each in named]
        told: Part | str
        if request is None:
            told = _NO_REQUEST
        elif request.method not in ("GET", "HEAD"):
            # To fetch the page again would be to post again.
            told = _NOT_BY_GET
        else:
            # Before the content, so that a commit during the rendering is not missed.
            told = Part.of(
                request,
                self._name(context, options),
                streams,
                _texts(options.get("types")),
                _texts(options.get("keys"), split=False),
            )
            # Takes the name, also from the parts inside.
            parts_of(request)[told.name] = (told, "")
            if not told.follow:
                told = _NOT_READABLE

        if request is not None and isinstance(told, Part):
            with noticing_messages(request, told):
                html = _element(options, told, self.nodelist.render(context))
            parts_of(request)[told.name] = (told, html)
        else:
            html = _element(options, told, self.nodelist.render(context))
        return format_html("{}{}", html, _script(context))

    def _name(self, context: Context, options: dict[str, Any]) -> str:
        """A name that is the same each time the page is rendered, whatever other parts it has."""
        if options.get("id"):
            return str(options["id"])
        origin = self.origin.template_name or self.origin.name
        place = f"{origin!s}:{self.token.lineno if self.token else 0}"
        name = f"live-{zlib.crc32(place.encode()):08x}"
        taken = parts_of(context["request"])
        times = 1
        while (numbered := name if times == 1 else f"{name}-{times}") in taken:
            times += 1
        return numbered


def _element(options: dict[str, Any], told: Part | str, content: str) -> SafeString:
    attributes: dict[str, Any] = {
        name.replace("_", "-"): value
        for name, value in options.items()
        if name not in _ITS_OWN and value not in (None, False)
    }
    if options.get("id"):
        attributes["id"] = options["id"]
    if isinstance(told, str):
        attributes["data-live-off"] = told
    else:
        attributes["data-live"] = json.dumps(
            {
                "part": told.name,
                "url": told.url,
                "follow": told.follow,
                "version": told.version,
                "unreadable": told.unreadable,
            },
            separators=(",", ":"),
        )
    tag = SafeString(options.get("tag") or "div")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", tag):
        raise template.TemplateSyntaxError(f"'live' cannot make an element of tag={tag!r}.")
    listed = format_html_join("", ' {}="{}"', attributes.items())
    return format_html("<{}{}>{}</{}>", tag, listed, SafeString(content), tag)


def _script(context: Context) -> SafeString:
    """The scripts as files, which a content security policy with 'self', or a nonce, allows.

    The first one notes what stands above it, so it may not be deferred.
    """
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")
    nonce = format_html(' nonce="{}"', nonce) if nonce else ""
    return format_html(
        '<script src="{}"{}></script>'
        '<script type="module" src="{}" data-client="{}" data-morph="{}" data-socket="{}"{}>'
        "</script>",
        static("durable_state/rendered.js"),
        nonce,
        static("durable_state/live-parts.js"),
        # As attributes, because storages that name files by their content do not rewrite imports.
        static("durable_state/client.js"),
        static("durable_state/morph.js"),
        f"{get_script_prefix()}ws/state/",
        nonce,
    )


def _texts(value: Any, *, split: bool = True) -> list[str]:
    """A list of texts, from a list or from one text; ``split`` divides a text at spaces."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return value.replace(",", " ").split() if split else [value]
    if isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "__iter__"):
        return [str(each) for each in value]
    return [str(value)]
