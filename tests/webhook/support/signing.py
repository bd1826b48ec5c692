"""A stream server as a webhook sees it: it signs, and publishes its keys."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.servers.misbehaving import Asked, MisbehavingServer, Reply

__all__ = ["SigningServer"]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class SigningServer:
    """Publishes the keys in ``published``, and signs with any key that it ever had."""

    def __init__(self, server: MisbehavingServer) -> None:
        self.url = f"{server.url}/v1/stream"
        self.private = {"first": Ed25519PrivateKey.generate()}
        self.published = ["first"]
        self.status = 200
        self._server = server
        server.reply = self._reply

    @property
    def times_asked(self) -> int:
        """How often somebody asked for the keys."""
        return sum(each.path.endswith("/__ds/jwks.json") for each in self._server.asked)

    def rotate(self, key_id: str) -> None:
        """Replaces all keys with a new one."""
        self.private[key_id] = Ed25519PrivateKey.generate()
        self.published = [key_id]

    def sign(self, body: bytes, key_id: str = "first", *, age: float = 0) -> str:
        """The header for a body that was signed so many seconds ago."""
        timestamp = str(round(time.time() - age))
        signature = self.private[key_id].sign(timestamp.encode() + b"." + body)
        return f"t={timestamp},kid={key_id},ed25519={_base64url(signature)}"

    def _reply(self, asked: Asked) -> Reply:
        keys: list[dict[str, Any]] = [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": "EdDSA",
                "kid": key_id,
                "x": _base64url(self.private[key_id].public_key().public_bytes_raw()),
            }
            for key_id in self.published
        ]
        return Reply(self.status, {}, (json.dumps({"keys": keys}).encode(),))
