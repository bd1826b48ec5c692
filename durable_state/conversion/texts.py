"""Texts, bytes, UUIDs, addresses."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import Any

from django.db import models

from .limits import Limits
from .refusal import Refused, shown, storable_text

__all__ = ["address", "binary", "text", "unbounded_text", "universally_unique"]

Convert = Callable[[Any], Any]

UUID_TEXT = re.compile(r"(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32})\Z")


def text(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """A text of at most ``max_length`` characters, kept verbatim."""
    longest: int | None = field.max_length

    def convert(raw: Any) -> Any:
        if not isinstance(raw, str):
            raise Refused("type", f"{shown(raw)} is not text.")
        if longest is not None and len(raw) > longest:
            raise Refused("too-long", f"{len(raw)} characters; the column holds {longest}.")
        return storable_text(raw)

    return convert


def unbounded_text(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """A text of any length (a TextField's ``max_length`` is for forms only), kept verbatim."""

    def convert(raw: Any) -> Any:
        if not isinstance(raw, str):
            raise Refused("type", f"{shown(raw)} is not text.")
        return storable_text(raw)

    return convert


def binary(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """Bytes, or base64 text with its padding and nothing else in it."""

    def convert(raw: Any) -> Any:
        if isinstance(raw, (bytes, bytearray, memoryview)):
            return bytes(raw)
        if not isinstance(raw, str):
            raise Refused("type", f"{shown(raw)} is not base64 text.")
        try:
            decoded = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("invalid", f"{shown(raw)} is not base64 text.") from error
        if base64.b64encode(decoded).decode("ascii") != raw:  # stray bits behind the last byte
            raise Refused("invalid", f"{shown(raw)} is not canonical base64 text.")
        return decoded

    return convert


def universally_unique(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """A UUID as 8-4-4-4-12 or 32 hexadecimal digits."""

    def convert(raw: Any) -> Any:
        if not isinstance(raw, (str, uuid.UUID)):
            raise Refused("type", f"{shown(raw)} is not a UUID.")
        if isinstance(raw, str) and not UUID_TEXT.match(raw):
            raise Refused("invalid", f"{shown(raw)} is not a UUID.")
        parsed = uuid.UUID(str(raw))
        if not limits.any_uuid and parsed.bytes[6] >= 0x80 >= parsed.bytes[8] > 0:
            raise Refused("range", f"MariaDB does not store the UUID {shown(raw)}.")
        return parsed

    return convert


def address(field: models.Field[Any, Any], limits: Limits) -> Convert:
    """An IPv4 or IPv6 address, returned as PostgreSQL's ``inet`` writes it."""
    unpack: bool = getattr(field, "unpack_ipv4", False)

    def convert(raw: Any) -> Any:
        if isinstance(raw, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            raw = str(raw)
        if not isinstance(raw, str):
            raise Refused("type", f"{shown(raw)} is not an IP address.")
        try:
            parsed = ipaddress.ip_address(raw)
        except ValueError as error:
            raise Refused("invalid", f"{shown(raw)} is not an IP address.") from error
        if isinstance(parsed, ipaddress.IPv4Address):
            return str(parsed)
        if parsed.scope_id is not None:
            raise Refused("invalid", f"{shown(raw)} names a zone, which PostgreSQL does not store.")
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped) if unpack else f"::ffff:{parsed.ipv4_mapped}"
        if 0xFFFF < int(parsed) <= 0xFFFFFFFF:
            raise Refused(
                "invalid",
                f"{shown(raw)} is of the deprecated IPv4-compatible kind,"
                " which databases write differently.",
            )
        return str(parsed)

    return convert
