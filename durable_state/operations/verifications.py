"""Verifications that somebody asked for: who carries them out, how far they are, what they found.

Why: decision 50.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import django.db
from django.db import connections
from django.db.models import DateTimeField, ExpressionWrapper, Q, QuerySet, Value

from durable_state.conf import get_settings
from durable_state.consumer import describe_error
from durable_state.databases.clock import ServerNow, database_now
from durable_state.errors import DurableStateError
from durable_state.materializer import OnStep
from durable_state.models import Stream, VerificationRun

from .intents import intended
from .verify import Verification, verify
from .wording import counted

__all__ = [
    "ask_to_verify",
    "carry_out",
    "is_verification_asked",
    "take_verification",
    "verify_here",
    "verifying_on_request",
]

logger = logging.getLogger("durable_state.operations")

State = VerificationRun.State
KEPT = 20
"""How many results are kept of one stream."""
TOLD_SECONDS = 2.0
"""Seconds between two signs of life from the worker of a verification."""
LOOK_SECONDS = 3.0
"""Seconds between two checks whether somebody has asked for a verification."""


class _Ended(Exception):
    """The verification belongs to another worker by now, or the process has to stop."""


def ask_to_verify(
    stream: Stream, *, actor: str, entity_type: str = "", key: str = ""
) -> VerificationRun:
    """Asks the workers to verify the stream, unless that is under way already.

    With ``entity_type`` and ``key`` it also finds that entity's history. The next ``run``, or
    Celery worker, carries it out; the command ``verify`` verifies at once instead.
    Raises: OperationRefused, if the stream is no longer there.
    """
    with intended(stream, "verify", actor, "requested") as verb:
        runs = VerificationRun.objects.using(verb.using).filter(stream=verb.stream)
        entity = {"entity_type": entity_type, "entity_key": key}
        under_way = runs.filter(state__in=VerificationRun.OPEN, **entity).first()
        if under_way is not None:
            verb.detail("already under way")
            return under_way

        outdated = list(runs.values_list("pk", flat=True)[KEPT - 1 :])
        runs.filter(pk__in=outdated).delete()
        return runs.create(stream=verb.stream, intent=verb.intent, **entity)


def is_verification_asked(using: str) -> bool:
    """Whether a verification waits for a worker."""
    return _waiting(using).exists()


def take_verification(using: str) -> VerificationRun | None:
    """Takes the verification that has waited longest, for this process to carry out.

    It may be one whose worker has given no sign of life for ``LEASE_SECONDS``. None if none waits.
    """
    worker = _name()
    for run in _waiting(using).order_by("pk"):
        ours = _waiting(using).filter(pk=run.pk, worker=run.worker)
        if ours.update(state=State.RUNNING, worker=worker, heard_at=ServerNow()):
            return VerificationRun.objects.using(using).select_related("stream").get(pk=run.pk)
    return None


def verify_here(
    stream: Stream,
    *,
    actor: str,
    on_folded: OnStep | None = None,
    on_compared: OnStep | None = None,
) -> Verification:
    """Verifies the stream in this process, at once, and keeps the result.

    Raises: what ``verify`` raises.
    """
    with intended(stream, "verify", actor, "in the foreground") as verb:
        run = VerificationRun.objects.using(verb.using).create(
            stream=verb.stream,
            intent=verb.intent,
            state=State.RUNNING,
            worker=_name(),
            heard_at=ServerNow(),
        )
    run.stream = stream
    found = carry_out(run, on_folded=on_folded, on_compared=on_compared)
    assert found is not None  # nobody asks it to end
    return found


def carry_out(
    run: VerificationRun,
    *,
    on_folded: OnStep | None = None,
    on_compared: OnStep | None = None,
    ends: Callable[[], bool] = lambda: False,
) -> Verification | None:
    """Verifies, recording its progress, and keeps the result.

    Returns None if ``ends`` told it to stop; the verification then waits for a worker again.
    Raises: what ``verify`` raises, which is kept too.
    """
    telling = _Telling(run, ends)
    try:
        with telling:
            found = verify(
                run.stream,
                entity_type=run.entity_type or None,
                key=run.entity_key if run.entity_type else None,
                on_folded=telling.on_step("folding", on_folded),
                on_compared=telling.on_step("comparing", on_compared),
            )
    except _Ended:
        _save(run, state=State.ASKED, worker="", phase="", done=0, total=0)
        return None
    except BaseException as error:
        told = _described(error)
        _conclude(run, State.FAILED, told, error=told)
        raise

    differs = sum(each.total() for each in found.counts.values())
    told = f"{counted(differs, 'difference')} in {found.compared}" if differs else found.compared
    _conclude(run, State.DIFFERS if differs else State.EQUAL, told, result=found.kept())
    return found


@contextmanager
def verifying_on_request(using: str) -> Iterator[None]:
    """Carries out requested verifications in a thread while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_keep_verifying, args=(using, stop), name="durable-state-verify", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_verifying(using: str, stop: threading.Event) -> None:
    try:
        while not stop.wait(LOOK_SECONDS):
            try:
                if (run := take_verification(using)) is not None:
                    carry_out(run, ends=stop.is_set)
            except DurableStateError:
                pass  # its result holds the error
            except Exception as error:
                logger.warning("A verification failed: %s", _described(error))
                connections[using].close_if_unusable_or_obsolete()
    finally:
        connections.close_all()


def _waiting(using: str) -> QuerySet[VerificationRun]:
    patience = Value(timedelta(seconds=get_settings().lease_seconds))
    silent = ExpressionWrapper(ServerNow() - patience, output_field=DateTimeField())
    is_left = Q(state=State.RUNNING) & (Q(heard_at=None) | Q(heard_at__lt=silent))
    return VerificationRun.objects.using(using).filter(Q(state=State.ASKED) | is_left)


class _Telling:
    """Records every few seconds how far a verification is, from a thread of its own.

    So it can do that while the comparison holds a transaction, and without waiting for a step.
    """

    def __init__(self, run: VerificationRun, ends: Callable[[], bool]) -> None:
        self._run, self._ends = run, ends
        self._now = ("", 0, 0)
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *anything: object) -> None:
        self._stop.set()
        self._thread.join()

    def on_step(self, phase: str, besides: OnStep | None) -> OnStep:
        """The function to call at each step, which raises _Ended if the verification has to end."""

        def step(done: int, total: int) -> None:
            self._now = phase, done, total
            if self._lost.is_set() or self._ends():
                raise _Ended
            if besides is not None:
                besides(done, total)

        return step

    def _tell(self) -> None:
        try:
            while not self._stop.wait(TOLD_SECONDS):
                phase, done, total = self._now
                with suppress(django.db.Error):  # the next attempt follows soon
                    told = {"phase": phase, "done": done, "total": total, "heard_at": ServerNow()}
                    if not _ours(self._run).update(**told):
                        self._lost.set()
        finally:
            connections.close_all()


def _conclude(run: VerificationRun, state: State, told: str, **columns: object) -> None:
    """Records the result, in the audit trail too."""
    _save(run, state=state, ended_at=database_now(run.using), **columns)
    intents = type(run.intent).objects.using(run.using)
    intents.filter(pk=run.intent_id).update(detail=f"{state}: {told}")


def _save(run: VerificationRun, **columns: object) -> None:
    _ours(run).update(**columns)
    for name, value in columns.items():
        setattr(run, name, value)


def _ours(run: VerificationRun) -> QuerySet[VerificationRun]:
    runs = VerificationRun.objects.using(run.using)
    return runs.filter(pk=run.pk, worker=run.worker, state=State.RUNNING)


def _described(error: BaseException) -> str:
    """Describes the error without quoting rows, because all who may see the stream see it."""
    if not isinstance(error, Exception):
        return f"It was interrupted ({type(error).__name__})."
    action = error.action if isinstance(error, DurableStateError) else ""
    return f"{describe_error(error).sentence} {action}".strip()


def _name() -> str:
    return f"{socket.gethostname()[:150]}:{os.getpid()}:verify:{uuid.uuid4().hex[:8]}"
