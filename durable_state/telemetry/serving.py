"""Serves the counters of a process that answers no web requests."""

from __future__ import annotations

from durable_state.errors import ConfigurationError

__all__ = ["serve_counters"]


def serve_counters(address: str) -> str:
    """Serves this process's counters at ``[HOST:]PORT`` until it ends; returns the URL to scrape.

    Port 0 stands for any free port. Raises: ConfigurationError.
    """
    try:
        from prometheus_client import start_http_server
    except ImportError as error:
        raise ConfigurationError(
            "The metrics need prometheus_client, which is not installed.",
            'Install it: pip install "django-durable-state[metrics]".',
        ) from error

    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(
            f"{address!r} is not an address to serve metrics at.", "Give [HOST:]PORT, such as 9464."
        )
    try:
        server, _ = start_http_server(int(port), host)
    except OSError as error:
        raise ConfigurationError(
            f"The metrics cannot be served at {address}: {error.strerror or error}.",
            "Give another port, or 0 for one that is free.",
        ) from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.server_port}/metrics"
