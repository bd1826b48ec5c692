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

from durable_state.errors import DurableStateError
from example_project.history.repository import NoHistory

from .place import CHECKOUT, Place, choose_port, claim_place
from .processes import Failed, Processes

if TYPE_CHECKING:
    from .feeding import Feeding


STREAM_SERVER = "stream server"
UVICORN = (
    "uvicorn",
    "--host=127.0.0.1",
    "--log-level=warning",
    "--timeout-graceful-shutdown=1",
)


class Stopped(KeyboardInterrupt):
    """Somebody asked the demo to end, by Ctrl-C or another signal.

    It is a KeyboardInterrupt because asyncio lets those through wherever they strike.
    """


def main() -> int:
    """Returns the exit code: 0 if all went well, 1 if not, 130 if it was stopped before that."""
    arguments = _arguments()
    # Lines appear as they are printed, also through a pipe.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _stop)
    place = claim_place()
    if place.number > 1:
        print(
            f"Another demo is running; this one is number {place.number}, "
            "with ports and files of its own."
        )
    ready = False
    try:
        server_port = choose_port(arguments.stream_port, "stream server")
        with Processes(
            CHECKOUT, place.folder / "logs", _environment(place, server_port)
        ) as processes:
            feeding = _sync(processes, arguments.repository, server_port)
            if arguments.until_up_to_date:
                return 0
            # Only now: a port that was free half a minute ago may be another demo's.
            _show_pages(processes, choose_port(arguments.port, "web server"), place)
            ready = True
            _follow(processes, feeding, place)
    except Stopped:
        print("\nStopping.")
        return 0 if ready else 130
    except (Failed, NoHistory, DurableStateError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _sync(processes: Processes, repository: Path, port: int) -> Feeding:
    """Starts stream server and workers, feeds the history, waits for the rows and compares them.

    Raises: Failed, NoHistory, DurableStateError.
    """
    begun = time.monotonic()
    server = processes.start(STREAM_SERVER, *UVICORN, "rakaia:app", f"--port={port}")
    os.environ.clear()
    os.environ.update(processes.environment)
    django.setup()
    from . import setting_up
    from .feeding import Feeding

    history = setting_up.prepare()
    processes.wait_for_port(server, port)
    asyncio.run(setting_up.prepare_streams())
    celery = ("celery", "--app=example_project")
    # Two processes: a `consume` slice occupies one of them for a minute, and `supervise` must not
    # wait behind it. They are processes rather than threads because production runs those, too.
    # SIGKILL ends them at once and loses nothing.
    processes.start(
        "worker",
        *celery,
        "worker",
        "--pool=prefork",
        "--concurrency=2",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel=INFO",
        stop=signal.SIGKILL,
    )
    processes.start(
        "beat",
        *celery,
        "beat",
        f"--schedule={processes.logs.parent / 'beat'}",
        "--pidfile=",
        "--loglevel=INFO",
    )

    def watch() -> None:
        # The stream server keeps streams in memory. Without it, the rows would never be complete.
        server.check()
        processes.tend()

    feeding = Feeding(repository, history.url)
    print(f"Feeding {feeding.source} to {history.url}")
    fed = feeding.feed_all()
    setting_up.wait_until_up_to_date("history", fed, watch)
    tree = feeding.source.tree()
    if wrong := setting_up.differences(tree):
        listed = "\n".join(wrong[:10])
        raise Failed(f"{len(wrong)} file rows are not as `git ls-tree -r` has them:\n{listed}")
    print(
        f"{fed} messages are {len(tree)} file rows: equal to `git ls-tree -r`, "
        f"{len(tree)} checked ({time.monotonic() - begun:.1f} s)"
    )
    return feeding


def _show_pages(processes: Processes, port: int, place: Place) -> None:
    web = processes.start(
        "web server",
        *UVICORN,
        "example_project.asgi:application",
        f"--port={port}",
        "--lifespan=off",
    )
    processes.wait_for_port(web, port)
    url = f"http://127.0.0.1:{port}"
    print(
        f"\n  History  {url}/history/\n  Chat     {url}/chat/\n  Behind   {url}/behind/\n"
        f"  Admin    {url}/admin/   (login: admin, password: admin)"
    )
    print(
        f"  Logs     {place.folder / 'logs'}\n\nPress Ctrl-C to stop everything; nothing is kept."
    )


def _follow(processes: Processes, feeding: Feeding, place: Place) -> None:
    """Feeds new commits and restarts what dies, until it is stopped.

    Raises: ChildDied if a process dies again and again.
    """
    complete = True
    while True:
        for _ in range(8):
            _kill_if_asked(processes, place)
            started = [process.name for process in processes.tend()]
            complete = complete and STREAM_SERVER not in started
            time.sleep(0.25)
        try:
            if complete:
                if fed := feeding.feed_news():
                    print(f"Fed {fed} more messages.")
            else:
                fed = feeding.feed_anew()
                complete = True
                print(
                    "The stream server keeps its streams in memory, so they were created again. "
                    f"Fed the history again, {fed} messages; the chat's rooms are empty."
                )
        except NoHistory as error:
            print(f"The repository cannot be read just now: {error}")
        except DurableStateError as error:
            # Part of it may have arrived. Feeding everything again, after a reset, is always right.
            if complete:
                print(f"The history could not be fed: {error}")
            complete = False


def _kill_if_asked(processes: Processes, place: Place) -> None:
    """Kills the worker if the page "Behind the scenes" has asked for it."""
    request = place.folder / "kill-worker"
    if request.exists():
        request.unlink()
        print("Killing the worker, as the page asks.")
        processes.kill("worker")


def _environment(place: Place, server_port: int) -> dict[str, str]:
    """Returns the environment of the child processes: embedded parts and this run's own files."""
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
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
    }


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
