"""Counts what a client sends to its database server, on the wire between them.

Whatever library sends them, `BEGIN`, savepoints and `COMMIT` are statements here like all others.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections

__all__ = ["Statements", "Wire", "listen_before"]

CHUNK = 65_536


class Statements:
    """The traffic so far: each statement, and how often the client waited for an answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.round_trips = 0

    def add(self, text: bytes, quoted: re.Pattern[bytes]) -> None:
        """Takes a text that was sent at once: one statement or several. ``quoted`` is a value."""
        blank = quoted.sub(lambda value: b"?" * len(value[0]), text)
        start = 0
        for part in blank.split(b";"):
            one = text[start : start + len(part)].decode(errors="replace")
            start += len(part) + 1
            if one.strip():
                self.texts.append(" ".join(one.split()))


class PostgreSQL:
    """Reads one client's half of a connection. Source: PostgreSQL, "Frontend/Backend Protocol"."""

    QUOTED = re.compile(rb"'(?:[^']|'')*'")
    ENCRYPTION = (80_877_103, 80_877_104)
    """The codes of SSLRequest and GSSENCRequest, to which the server answers first."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._unread = b""
        self._started = False
        self._prepared: dict[bytes, bytes] = {}
        self._bound: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Takes the next bytes, wherever they were cut."""
        self._unread += data
        while True:
            head = 1 if self._started else 0  # the first messages have no type
            if len(self._unread) < head + 4:
                return
            length = int.from_bytes(self._unread[head : head + 4], "big")
            if len(self._unread) < head + length:
                return
            kind, body = self._unread[:head], self._unread[head + 4 : head + length]
            self._unread = self._unread[head + length :]
            if self._started:
                self._read(kind, body)
            else:
                self._started = int.from_bytes(body[:4], "big") not in self.ENCRYPTION

    def _read(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q":  # query
                self._statements.add(body.rstrip(b"\0"), self.QUOTED)
                self._statements.round_trips += 1
            case b"P":  # parse
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text
            case b"B":  # bind
                portal, name, _ = body.split(b"\0", 2)
                self._bound[portal] = self._prepared.get(name, b"")
            case b"E":  # execute
                self._statements.add(self._bound[body.split(b"\0", 1)[0]], self.QUOTED)
            case b"S" | b"c":  # sync, and the end of a COPY
                self._statements.round_trips += 1


class MySQL:
    """Reads one client's half of a connection. Source: MySQL, "Client/Server Protocol"."""

    QUOTED = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
    QUERY = 3

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._unread = b""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes, wherever they were cut."""
        self._unread += data
        while len(self._unread) >= 4:
            end = 4 + int.from_bytes(self._unread[:3], "little")
            if len(self._unread) < end:
                return
            sequence, body = self._unread[3], self._unread[4:end]
            self._unread = self._unread[end:]
            if sequence == 0 and body:  # otherwise the rest of a command, or of the handshake
                self._statements.round_trips += 1
                if body[0] == self.QUERY:
                    self._statements.add(body[1:], self.QUOTED)


PROTOCOLS = {"postgresql": PostgreSQL, "mysql": MySQL}


class Wire:
    """A proxy in front of a server: clients connect to ``port`` on the loopback instead."""

    def __init__(self, vendor: str, host: str, port: int) -> None:
        self.statements = Statements()
        self._protocol = PROTOCOLS[vendor]
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accepts no more connections; open ones end with their clients."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                reader = self._protocol(self.statements)
                threading.Thread(
                    target=_pass_on, args=(client, server, reader), daemon=True
                ).start()
                threading.Thread(target=_pass_on, args=(server, client, None), daemon=True).start()


def _pass_on(
    source: socket.socket, target: socket.socket, reader: PostgreSQL | MySQL | None
) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            if reader is not None:
                reader.feed(data)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def listen_before(alias: str) -> Iterator[tuple[Wire | None, dict[str, Any]]]:
    """A proxy in front of that database, and the settings for those who go through it.

    None, and no settings, if the database has no server.
    """
    vendor, settings = connections[alias].vendor, connections[alias].settings_dict
    if vendor not in PROTOCOLS:
        yield None, {}
        return
    wire = Wire(vendor, settings["HOST"] or "127.0.0.1", int(settings["PORT"]))
    changed = {"HOST": "127.0.0.1", "PORT": wire.port}
    if vendor == "postgresql":
        changed["OPTIONS"] = settings["OPTIONS"] | {"sslmode": "disable"}
    try:
        yield wire, changed
    finally:
        wire.close()
