"""A `run` in this process, and what an operator does meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from django.db import connections

from durable_state.consumer.run import run_all

__all__ = ["run_while"]


def run_while(using: str, look: Callable[[ExitStack], None]) -> None:
    """Consumes all streams while ``look`` runs; then ends by SIGTERM, within seconds.

    Whatever ``look`` enters into the stack it is given is left after that.
    """
    problems: list[BaseException] = []
    asked: list[float] = []
    has_ended = threading.Event()

    def operate() -> None:
        with ExitStack() as held:
            try:
                look(held)
            except BaseException as error:
                problems.append(error)
            asked.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
            has_ended.wait(60)
        connections.close_all()

    operator = threading.Thread(target=operate)
    operator.start()
    run_all(using)
    took = time.monotonic() - asked[0]
    has_ended.set()
    operator.join()
    if problems:
        raise problems[0]
    assert took < 5
