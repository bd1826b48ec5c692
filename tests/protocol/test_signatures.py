"""The header of a signed webhook, and the keys of a server."""

from __future__ import annotations

import base64
import builtins
import json
from typing import Any

import msgspec
import pytest

from durable_state.checks import check_settings
from durable_state.errors import ConfigurationError
from durable_state.protocol.signatures import (
    Signature,
    check_library,
    decode_keys,
    is_signed,
    parse_signature,
)

# The first test vector of RFC 8032, 7.1, has an empty message; ours begins with a timestamp, so
# only its key is used.
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
TEXT = "A" * 86


def test_a_header_is_taken_apart() -> None:
    """In whatever order, and with parameters that a later version adds."""
    assert parse_signature(f"t=1700000000,kid=ds_a-B_1,ed25519={TEXT}") == Signature(
        "1700000000", "ds_a-B_1", bytes(64)
    )
    assert parse_signature(f"v=2, ed25519={TEXT} , kid=a=b,t=007") == Signature(
        "007", "a=b", bytes(64)
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t",
        f"t=,kid=k,ed25519={TEXT}",
        f"t=1,kid=k,ed25519={TEXT},t=2",
        f"kid=k,ed25519={TEXT}",
        f"t=1,ed25519={TEXT}",
        "t=1,kid=k",
        f"t=-1,kid=k,ed25519={TEXT}",
        f"t=1.5,kid=k,ed25519={TEXT}",
        f"t=١,kid=k,ed25519={TEXT}",
        f"t=1234567890123,kid=k,ed25519={TEXT}",
        f"t=1,kid=k,ed25519={TEXT[1:]}",
        f"t=1,kid=k,ed25519={TEXT}=",
        f"t=1,kid=k,ed25519={TEXT[:-1]}+",
        f"t=1,kid={'k' * 1000},ed25519={TEXT}",
    ],
)
def test_what_is_no_header_is_none(header: str) -> None:
    """It raises nothing, whatever a stranger sends."""
    assert parse_signature(header) is None


def key(**other: Any) -> dict[str, Any]:
    x = base64.urlsafe_b64encode(PUBLIC).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "x": x} | other


def test_keys_for_signatures_are_found() -> None:
    """Other keys, and items that are not keys, are skipped."""
    others = [
        {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "kid": 5},
        key(kid="enc", use="enc"),
        key(kid="448", crv="Ed448"),
        key(kid="short", x="AAAA"),
        key(kid=""),
        "key",
        None,
    ]
    body = json.dumps({"keys": [*others, key()], "more": 1}).encode()
    assert decode_keys(body) == {"k": PUBLIC}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 5}', b"<html>"])
def test_what_is_no_key_set_is_told(body: bytes) -> None:
    """So that an error page is not taken for a server without keys."""
    with pytest.raises(msgspec.DecodeError):
        decode_keys(body)


def test_what_was_not_signed_is_not() -> None:
    """A key that is not a point of the curve raises nothing either."""
    assert not is_signed(b"{}", Signature("1", "k", bytes(64)), PUBLIC)
    assert not is_signed(b"{}", Signature("1", "k", b"\xff" * 64), b"\xff" * 32)


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; so does a system check, if webhooks are used."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"durable-state\[webhooks\]"):
        check_library()
    (found,) = check_settings({"WEBHOOK_URL": "https://shop.example.org/doorbells/"})
    assert found.id == "durable_state.E028"
    assert check_settings({}) == []
