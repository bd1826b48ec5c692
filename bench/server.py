"""A static server: each recorded stream is one response, complete and up to date.

The kernel sends it directly from its file.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

__all__ = ["serve"]

END = "end"
"""The offset after the only response."""
POLL_SECONDS = 20
"""How long a long-poll at the end waits in vain, in seconds."""


@contextmanager
def serve(files: Mapping[str, Path]) -> Iterator[str]:
    """Serves the files by name below the URL that it yields.

    Spec: PROTOCOL.md 5.5 (HEAD), 5.6 (catch-up), 5.7 (long-poll).
    """
    leaving = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # a killed client reads no more
                super().handle()

        def do_HEAD(self) -> None:
            self._head(200, 0)

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            path = files.get(url.path.strip("/"))
            if path is None:
                self._head(404, 0)
            elif asked.get("offset") != [END]:
                self._head(200, path.stat().st_size)
                with path.open("rb") as file:
                    self.wfile.flush()
                    self.connection.sendfile(file)
            elif asked.get("live") == ["long-poll"]:
                leaving.wait(POLL_SECONDS)
                self._head(204, 0)
            elif "live" in asked:
                self._head(400, 0)  # of the live modes, the contestants use long-poll
            else:
                self._head(200, 2)
                self.wfile.write(b"[]")

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
            self.send_header("Stream-Next-Offset", END)
            self.send_header("Stream-Up-To-Date", "true")
            self.send_header("Stream-Cursor", "1")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        leaving.set()
        server.shutdown()
        server.server_close()
