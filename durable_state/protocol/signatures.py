"""The signature of a webhook, and the keys that it is verified by.

Spec: PROTOCOL.md 6.5, 7.1; RFC 8037 (Ed25519 in a JSON Web Key).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from durable_state.errors import ConfigurationError

__all__ = ["Signature", "check_library", "decode_keys", "is_signed", "parse_signature"]

_HEADER_LENGTH = 1000
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_MOST_KEYS = 100


class Signature(NamedTuple):
    """A ``Webhook-Signature`` header, taken apart."""

    timestamp: str
    """Seconds since 1970, in the digits that were signed."""
    key_id: str
    signature: bytes


def parse_signature(header: str) -> Signature | None:
    """None, where it is no signature header.

    Parameters that are not known are passed over; one that comes twice spoils the header.
    """
    if len(header) > _HEADER_LENGTH:
        return None
    parameters: dict[str, str] = {}
    for parameter in header.split(","):
        name, separator, value = parameter.strip().partition("=")
        if not separator or not value or name in parameters:
            return None
        parameters[name] = value

    timestamp, key_id = parameters.get("t", ""), parameters.get("kid", "")
    signature = _decode_base64url(parameters.get("ed25519", ""))
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not key_id:
        return None
    if len(signature) != _SIGNATURE_BYTES:
        return None
    return Signature(timestamp, key_id, signature)


class _Key(msgspec.Struct):
    kty: str = ""
    crv: str = ""
    kid: str = ""
    use: str = "sig"
    x: str = ""


class _KeySet(msgspec.Struct):
    keys: list[msgspec.Raw]


def decode_keys(body: bytes) -> dict[str, bytes]:
    """The Ed25519 keys for signatures of a JSON Web Key Set, by their ids; others are passed over.

    Raises: msgspec.DecodeError, where the body is no such set.
    """
    found: dict[str, bytes] = {}
    for raw in msgspec.json.decode(body, type=_KeySet).keys[:_MOST_KEYS]:
        try:
            key = msgspec.json.decode(raw, type=_Key)
        except msgspec.DecodeError:
            continue  # a key of another kind, which may be of any shape
        public = _decode_base64url(key.x)
        is_ours = (key.kty, key.crv, key.use) == ("OKP", "Ed25519", "sig")
        if is_ours and key.kid and len(public) == _KEY_BYTES:
            found[key.kid] = public
    return found


def is_signed(body: bytes, signature: Signature, key: bytes) -> bool:
    """Whether the owner of the key signed these bytes at that time.

    Raises: ConfigurationError, where the library for it is not installed.
    """
    check_library()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = Ed25519PublicKey.from_public_bytes(key)
        public.verify(signature.signature, signature.timestamp.encode() + b"." + body)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_library() -> None:
    """Raises: ConfigurationError, where signatures cannot be verified."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "Webhooks are signed, and the package that verifies signatures is not installed.",
            'Install it: pip install "django-durable-state[webhooks]"',
        ) from error


def _decode_base64url(text: str) -> bytes:
    """Nothing, where it is not unpadded base64url."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        return b""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
