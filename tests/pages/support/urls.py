"""Pages with live parts."""

from __future__ import annotations

from itertools import count

from django.contrib import messages as messages_of
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, re_path

from tests.admin.support.urls import urlpatterns as admin_urls
from tests.app.models import Message

__all__ = ["urlpatterns"]

visits = count(1)
STRICT = (
    "default-src 'self'; require-trusted-types-for 'script'; trusted-types durable-state; "
    "base-uri 'none'; object-src 'none'"
)


def page(request: HttpRequest, template: str) -> HttpResponse:
    """The messages of the room, newest key first, and how often a view ran."""
    if request.method == "POST":
        return HttpResponse(f"noted {request.POST['note']}")
    room = request.GET.get("room", "chat")
    messages = Message.objects.filter(room=room).order_by("-key")
    pointer = messages.filter(key="pointer").first()
    watched = ["pointer", pointer.text if pointer else ""]
    context = {"messages": messages, "room": room, "visits": next(visits), "watched": watched}
    context |= {"notices": messages_of.get_messages(request), "show": "show" in request.GET}
    if "say" in request.GET:
        messages_of.info(request, request.GET["say"])
    response = render(request, f"{template}.html", context)
    if "strict" in request.GET:
        response["Content-Security-Policy"] = STRICT
    return response


urlpatterns = [
    *admin_urls,
    path("public/<template>/", page),
    re_path(r"^/.*/(?P<template>\w+)/$", page),  # behind two slashes
    path("<template>/", login_required(page, login_url="/admin/login/")),
]
