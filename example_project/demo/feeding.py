"""Brings the history to its stream, as the service that owns the data would do.

Import it after `django.setup()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from durable_state.protocol import encode_control
from durable_state.transport import append, open_client
from example_project.history.source import HistorySource, find_history, packed

from .setting_up import prepare_streams

__all__ = ["Feeding"]


class Feeding:
    """Appends the commits of a repository to a stream, each once."""

    def __init__(self, repository: Path, url: str) -> None:
        self.repository = repository
        self.url = url
        self.source: HistorySource = find_history(repository)

    def feed_all(self) -> int:
        """Appends the whole history, and returns the number of messages.

        Raises: NoHistory, DurableStateError.
        """
        return asyncio.run(_append(self.url, self.source.news()))

    def feed_news(self) -> int:
        """Appends what was committed since it was last asked, and returns the number of messages.

        Raises: NoHistory, before anything is appended; DurableStateError.
        """
        news = list(self.source.news())
        return asyncio.run(_append(self.url, news))

    def feed_anew(self) -> int:
        """Makes the streams where they are missing, and appends the whole history behind a `reset`.

        Whatever arrived before, the stream then says what the repository says.
        Raises: NoHistory, DurableStateError.
        """
        self.source = find_history(self.repository)
        asyncio.run(prepare_streams())
        everything = chain([[encode_control("reset")]], self.source.news())
        return asyncio.run(_append(self.url, everything))


async def _append(url: str, commits: Iterable[list[bytes]]) -> int:
    fed = 0
    async with open_client(trust_env=False) as client:
        for messages in packed(commits):
            await append(client, url, messages)
            fed += len(messages)
    return fed
