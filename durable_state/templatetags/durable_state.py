"""``{% load durable_state %}``: makes parts of any page live."""

from __future__ import annotations

import json
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
    """Makes what it encloses follow one or more streams.

    ``{% live "tasks" "people" %}…{% endlive %}`` is rendered as usual, inside a ``div``. When one
    of the streams changes, the page fetches that part again, and changes what is different in it;
    focus, scrolling and what is being typed stay. Optional: ``types="task person"``, ``keys=key``
    (or a list): only their changes count; ``id="board"``: the part's name, which a part in a loop
    needs; ``tag="tbody"``: the element around it. Other options become its attributes
    (``class="board"``, ``aria_live="polite"``).
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
    """What is between ``{% live %}`` and ``{% endlive %}``."""

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
        """The part with its element; its script comes once for each, and runs once."""
        options = {name: value.resolve(context) for name, value in self.options.items()}
        request: HttpRequest | None = context.get("request")
        named = [value.resolve(context) for value in self.streams]
        streams = [str(getattr(each, "name", each)) for each in named]
        told: Part | str
        if request is None:
            told = _NO_REQUEST
        elif request.method not in ("GET", "HEAD"):
            # To ask for it again would be to post again.
            told = _NOT_BY_GET
        else:
            # Before the content: what is committed while it is rendered is not missed.
            told = Part.of(
                request,
                self._name(context, options),
                streams,
                _texts(options.get("types")),
                _texts(options.get("keys"), split=False),
            )
            # The name is taken from here on, also for parts inside.
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
        """The same each time that the page is rendered, whichever other parts it has then."""
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
    listed = format_html_join("", ' {}="{}"', attributes.items())
    return format_html("<{}{}>{}</{}>", tag, listed, SafeString(content), tag)


def _script(context: Context) -> SafeString:
    """A file, not inline: a content security policy with 'self', or with a nonce, allows it."""
    nonce = context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", "")
    return format_html(
        '<script type="module" src="{}" data-client="{}" data-morph="{}" data-socket="{}"{}>'
        "</script>",
        static("durable_state/live-parts.js"),
        # Told, because storages that name files by their content leave imports as they are.
        static("durable_state/client.js"),
        static("durable_state/morph.js"),
        f"{get_script_prefix()}ws/state/",
        format_html(' nonce="{}"', nonce) if nonce else "",
    )


def _texts(value: Any, *, split: bool = True) -> list[str]:
    """A list of texts: of a list, or of one text, which may name several where none has a space."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return value.replace(",", " ").split() if split else [value]
    if isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "__iter__"):
        return [str(each) for each in value]
    return [str(value)]
