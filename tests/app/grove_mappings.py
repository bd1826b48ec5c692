"""The mappings of grove.py."""

from __future__ import annotations

from durable_state import EntityMapping, register

from . import grove


class GroveMapping(EntityMapping):
    streams = ["grove*"]
    key_field = "key"


@register("branch")
class BranchMapping(GroveMapping):
    model = grove.Branch
    fields = ["slug", "boss"]


@register("leaf")
class LeafMapping(GroveMapping):
    model = grove.Leaf
    fields = ["branch", "tag"]


@register("sign")
class SignMapping(GroveMapping):
    model = grove.Sign
    fields = ["email", "phone", "active"]


@register("country")
class CountryMapping(GroveMapping):
    model = grove.Country
    fields = ["code"]


@register("city")
class CityMapping(GroveMapping):
    model = grove.City
    fields = ["country"]


@register("depot")
class DepotMapping(GroveMapping):
    model = grove.Depot
    fields = ["code", "phone"]


@register("truck")
class TruckMapping(GroveMapping):
    model = grove.Truck
    fields = ["depot", "spare"]


@register("bottle")
class BottleMapping(GroveMapping):
    model = grove.Bottle
    fields = ["hamper"]


@register("seal")
class SealMapping(GroveMapping):
    model = grove.Seal
    fields = ["front", "back", "above"]


@register("desk")
class DeskMapping(GroveMapping):
    model = grove.Desk
    fields = ["branch"]


@register("gauge")
class GaugeMapping(GroveMapping):
    model = grove.Gauge
    fields = ["level", "name"]


@register("gauge")
class MergedGaugeMapping(GaugeMapping):
    streams = ["merging-grove"]
    update_mode = "merge"
