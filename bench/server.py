"""A static server: each recorded stream is one response, complete and up to date."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ["serve"]


@contextmanager
def serve(bodies: dict[str, bytes]) -> Iterator[str]:
    """Serves ``bodies`` by path below the URL that it gives. Spec: PROTOCOL.md 5.6, reading without live mode."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            tail = parse_qs(url.query).get("offset") == ["end"]
            body = b"[]" if tail else bodies[url.path.strip("/")]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Stream-Next-Offset", "end")
            self.send_header("Stream-Up-To-Date", "true")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
