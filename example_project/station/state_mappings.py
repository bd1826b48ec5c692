"""How the station's stream becomes rows."""

from __future__ import annotations

from durable_state import EntityMapping, camel_case, register

from .models import Departure


@register("departure")
class DepartureMapping(EntityMapping):
    model = Departure
    key_field = "train"
    fields = camel_case("destination", "leaves_at", "platform", "delay")
    streams = ["station"]
