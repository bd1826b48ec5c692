"""The templates of the live pages, by name."""

from __future__ import annotations

from typing import Any

from tests.settings import TEMPLATES

__all__ = ["templates"]

_PAGE = "{% load durable_state %}<!doctype html><meta charset=utf-8><title>Live</title>"

_TEXTS = {
    "plain.html": _PAGE + "<p>Nothing live</p>",
    "pointed.html": _PAGE + '{% live "chat" keys=watched id="pointed" %}{% for each in messages %}'
    "{% if each.key in watched %}<p data-key={{ each.key }}>{{ each.text }}</p>{% endif %}"
    "{% endfor %}{% endlive %}",
    "told.html": _PAGE + "<main>{% for told in notices %}{{ told }}{% endfor %}</main>"
    '{% live "chat" id="told" %}{{ messages|length }}{% endlive %}'
    '{% live "chat" id="telling" %}{% if show %}{% for told in notices %}{{ told }}'
    "{% endfor %}{% endif %}{% endlive %}",
    "two.html": _PAGE
    + '{% live "chat" "second" id="two" %}{{ messages|length }} and {{ visits }}{% endlive %}',
    "whole.html": _PAGE
    + '{% live "chat" id="whole" %}{% for each in messages %}<p>{{ each.key }}: {{ each.text }}</p>'
    "{% endfor %}{% endlive %}",
    "board.html": _PAGE
    + """
<h1>Board</h1>
{% live "chat" types="message" id="board" class="board" %}
<p id="count">{{ messages|length }} messages</p>
<ul>{% for message in messages %}
  <li data-key="{{ message.key }}"><span>{{ message.text }}</span>
    <form><input name="note" placeholder="note" value="{{ message.likes|default:'' }}"></form></li>
{% endfor %}</ul>
<details><summary>More</summary>Nothing</details>
{% endlive %}
<div id="other">{{ visits }}</div>
{% live "chat" id="total" %}<b>{{ messages|length }}</b>{% endlive %}
""",
    "room.html": _PAGE
    + '{% live room id="room" %}{% for each in messages %}<i>{{ each.text }}</i>{% endfor %}'
    '{% live "chat" "chat-2" keys="m1" tag="section" id="inner" aria_live="polite" %}'
    "{{ messages.0.text }}{% endlive %}{% endlive %}",
    # Its script does what Alpine does: it runs before the page's other modules.
    "beside.html": _PAGE
    + """
<script type="module">
  const menu = document.getElementById("menu");
  menu.removeAttribute("x-cloak");
  menu.style.display = "none";
  document.getElementById("label").textContent = "by a script";
  document.getElementById("notice").remove();
  menu.after(Object.assign(document.createElement("i"), { textContent: "added" }));
</script>
{% live "chat" id="top" %}<p id="menu" x-cloak>Menu</p><span id="label">fallback</span>
<p id="notice">Notice</p><b>{{ messages|length }}</b>{% endlive %}
<table>{% live "chat" tag="tbody" id="rows" %}{% for message in messages %}
  <tr data-key="{{ message.key }}"><td>{{ message.text }}<td>
    <form method="post">{% csrf_token %}<input name="note"></form>{% endfor %}{% endlive %}
  {% for message in messages %}{% live "chat" tag="tr" keys=message.key id=message.key %}
  <td>{{ message.text }}{% endlive %}{% endfor %}</table>
""",
    "loop.html": _PAGE
    + '{% for each in messages %}{% live "chat" keys=each.key tag="p" %}{{ each.text }}'
    "{% endlive %}{% endfor %}",
}


def templates() -> list[dict[str, Any]]:
    """The setting TEMPLATES that finds them, and those of the apps."""
    engine: dict[str, Any] = {**TEMPLATES[0], "APP_DIRS": False}
    loaders = [
        ("django.template.loaders.locmem.Loader", _TEXTS),
        "django.template.loaders.app_directories.Loader",
    ]
    return [{**engine, "OPTIONS": {**engine["OPTIONS"], "loaders": loaders}}]
