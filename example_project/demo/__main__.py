"""Runs the example: `make demo`, or `python -m example_project.demo --help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import django

from .place import CHECKOUT, Place, choose_port, claim_place
from .processes import ChildDied, Processes

if TYPE_CHECKING:
    from example_project.history.source import HistorySource


class Stopped(KeyboardInterrupt):
    """Somebody asked us to end: Ctrl-C, or a signal. A KeyboardInterrupt, because asyncio lets those through wherever they strike."""


def main() -> int:
    """The exit code: 0 when all went well, 1 when not, 130 when it was stopped before it could tell."""
    arguments = _arguments()
    # Lines appear as they are printed, also through a pipe.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _stop)
    place = claim_place()
    if place.number > 1:
        print(
            f"Another demo is running; this one is number {place.number}, with ports and files of its own."
        )
    ready = False
    try:
        server_port = choose_port(arguments.stream_port, "stream server")
        web_port = None if arguments.until_up_to_date else choose_port(arguments.port, "web server")
        with Processes(
            CHECKOUT, place.folder / "logs", _environment(place, server_port)
        ) as processes:
            source = _sync(processes, arguments.repository, server_port)
            if web_port is None:
                return 0
            _show_pages(processes, web_port, place)
            ready = True
            _follow(processes, source)
    except Stopped:
        print("\nStopping.")
        return 0 if ready else 130
    except Exception as error:
        if not _expected(error):
            raise
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _sync(processes: Processes, repository: Path, port: int) -> HistorySource:
    """Starts what it takes, feeds the history, waits for the rows, and compares them with the tree."""
    begun = time.monotonic()
    server = processes.start(
        "stream server", "uvicorn", "rakaia:app", "--host=127.0.0.1", f"--port={port}", "--log-level=warning",
        "--timeout-graceful-shutdown=1",
    )  # fmt: skip
    os.environ.clear()
    os.environ.update(processes.environment)
    django.setup()
    from example_project.history.source import find_history

    from . import setting_up

    history = setting_up.prepare()
    processes.wait_for_port(server, port)
    asyncio.run(setting_up.prepare_streams())
    celery = ("celery", "--app=example_project")
    # Two processes: a `consume` slice tails every stream in one of them for a minute, and `supervise` must not wait behind it.
    # Processes rather than threads, so that what is shown here is what production runs. Its end is a kill: a slice lasts up to a minute,
    # and nothing is lost by one that is cut off anywhere.
    processes.start(
        "worker", *celery, "worker", "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle",
        "--without-heartbeat", "--loglevel=INFO", stop=signal.SIGKILL,
    )  # fmt: skip
    processes.start(
        "beat",
        *celery,
        "beat",
        f"--schedule={processes.logs.parent / 'beat'}",
        "--pidfile=",
        "--loglevel=INFO",
    )

    source = find_history(repository)
    print(f"Feeding {source} to {history.url}")
    fed = asyncio.run(setting_up.feed(history.url, source.news()))
    setting_up.wait_until_up_to_date("history", fed, processes.check)
    tree = source.tree()
    if wrong := setting_up.differences(tree):
        listed = "\n".join(wrong[:10])
        raise setting_up.Failed(
            f"{len(wrong)} file rows are not as `git ls-tree -r` has them:\n{listed}"
        )
    print(
        f"{fed} messages are {len(tree)} file rows: equal to `git ls-tree -r`, {len(tree)} checked ({time.monotonic() - begun:.1f} s)"
    )
    return source


def _show_pages(processes: Processes, port: int, place: Place) -> None:
    web = processes.start(
        "web server", "uvicorn", "example_project.asgi:application", "--host=127.0.0.1", f"--port={port}", "--lifespan=off",
        "--log-level=warning", "--timeout-graceful-shutdown=1",
    )  # fmt: skip
    processes.wait_for_port(web, port)
    url = f"http://127.0.0.1:{port}"
    print(
        f"\n  History  {url}/history/\n  Chat     {url}/chat/\n  Admin    {url}/admin/   (login: admin, password: admin)"
    )
    print(f"  Logs     {place.folder / 'logs'}\n\nCtrl-C ends all of it.")


def _follow(processes: Processes, source: HistorySource) -> None:
    """Feeds the commits that are made while the demo runs, until it is stopped. Raises: ChildDied."""
    from durable_state.models import Stream
    from example_project.history.repository import NoHistory

    from . import setting_up

    url = Stream.objects.get(name="history").url
    while True:
        for _ in range(8):
            processes.check()
            time.sleep(0.25)
        try:
            news = list(source.news())
        except NoHistory as error:
            print(f"The repository cannot be read just now: {error}")
            continue
        if news:
            print(f"Fed {len(news)} more, {asyncio.run(setting_up.feed(url, news))} messages.")


def _environment(place: Place, server_port: int) -> dict[str, str]:
    """What the child processes get: the embedded parts, whatever the shell says, and this run's own files."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EXAMPLE_")
    }
    direct = [
        name
        for name in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1")
        if name
    ]
    return environment | {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_STATE_DIR": str(place.folder),
        "EXAMPLE_STREAM_SERVER": f"http://127.0.0.1:{server_port}",
        "PYTHONUNBUFFERED": "1",
        # The broker moves each message here before it reads it: on one file system that is atomic.
        "TMPDIR": str(place.folder / "tmp"),
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
    }


def _expected(error: Exception) -> bool:
    """Whether an error speaks for itself, without a traceback."""
    from durable_state.errors import DurableStateError

    return isinstance(error, (ChildDied, DurableStateError)) or type(error).__name__ in (
        "Failed",
        "NoHistory",
    )


def _stop(number: int, frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the ending of the children, which is bounded anyway.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo DEMO_ARGS=...",
        description="A git history and a chat, as streams, tables and live pages.",
    )
    parser.add_argument(
        "--until-up-to-date",
        action="store_true",
        help="no pages; exit 0 when the tables equal `git ls-tree -r`, else 1",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=CHECKOUT,
        help="the git repository whose history is fed (default: this checkout)",
    )
    parser.add_argument("--port", type=int, default=8000, help="of the web server")
    parser.add_argument("--stream-port", type=int, default=4437, help="of the stream server")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
