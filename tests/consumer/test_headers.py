"""HEADERS: asked for each request, in a thread, with the ORM; what it gives is never kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer import request_headers
from durable_state.consumer.run import consume_slice, sync
from durable_state.errors import OperationRefused
from durable_state.models import Intent, Lease, Status, Stream
from tests import leases
from tests.servers.misbehaving import MisbehavingServer, Reply
from tests.tables import check

from .support.consuming import consuming, wait_until
from .support.serving import ITEMS, good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def give(stream: Stream) -> Any:
    """What the tests' HEADERS function does; each test sets its own."""
    return {}


def headers(stream: Stream) -> Mapping[str, str]:
    """The project's function, named by the setting."""
    return give(stream)


@pytest.fixture(autouse=True)
def setting(settings: Any) -> None:
    """Use it."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "HEADERS": f"{__name__}.headers"}


def use(monkeypatch: pytest.MonkeyPatch, function: Callable[[Stream], Any]) -> None:
    """Let HEADERS do this."""
    monkeypatch.setitem(globals(), "give", function)


def test_each_request_has_fresh_headers(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    """Made outside the event loop, from the database; they are nowhere but on the wire."""
    caplog.set_level("DEBUG")
    threads: list[str] = []

    def from_the_database(stream: Stream) -> dict[str, str]:
        threads.append(threading.current_thread().name)
        name = Stream.objects.get(pk=stream.pk).name
        return {"Authorization": f"Bearer secret-{name}-{len(threads)}"}

    use(monkeypatch, from_the_database)
    server, replies = misbehaving_server, good(page=1)
    server.reply = replies
    stream = add_stream(server.url + "/s")
    sync(stream, until_up_to_date=True)
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == [f"Bearer secret-{stream.name}-{n}" for n in range(1, len(sent) + 1)]
    assert len(sent) > 2
    assert threading.current_thread().name not in threads
    check(stream, ITEMS)
    stored = repr(Stream.objects.values().get()) + repr(operations.report(stream))
    assert "secret" not in caplog.text + stored


def test_a_failing_function_is_tried_again(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token service may be away; the status names the function and its error."""
    broken = True

    def fail(stream: Stream) -> dict[str, str]:
        if broken:
            raise TimeoutError("no token service")
        return {}

    use(monkeypatch, fail)
    server, replies = misbehaving_server, good()
    server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: operations.report(stream).status == "retrying")
        report = operations.report(stream)
        assert "TimeoutError: no token service" in report.last_error
        assert f"{__name__}.headers" in report.action
        assert server.asked == []
        broken = False
        operations.resume(stream, actor="test")
        wait_until(lambda: operations.report(stream).status == "live")
    check(stream, ITEMS)


def test_a_server_that_repeats_our_token_is_not_quoted_with_it(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    """Neither in the status, nor in the audit trail, nor in the log."""
    caplog.set_level("DEBUG")
    use(monkeypatch, lambda stream: {"Authorization": "Bearer echoed-s3cret"})
    misbehaving_server.reply = lambda asked: Reply(
        401, {}, (f"unknown: {asked.headers['authorization']}".encode(),)
    )
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused, match="401") as refused:
        sync(stream, until_up_to_date=True)
    operations.resume(stream, actor="test")
    stored = [Stream.objects.values().get(), *Intent.objects.values()]
    assert "unknown: ***" in str(refused.value)
    assert "s3cret" not in f"{refused.value} {stored} {stream.last_error} {caplog.text}"


def test_a_failing_function_does_not_tell_its_secrets(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent once, and what looks like a secret, is in no error of a later call."""
    token, calls = "sent-s3cret", 0

    def fail_later(stream: Stream) -> dict[str, str]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ValueError(f"{token} has expired, https://vault/?key=new-s3cret took none")
        return {"X-Key": token}

    use(monkeypatch, fail_later)
    server = misbehaving_server
    server.reply = good(page=1)
    stream = add_stream(server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: "ValueError" in operations.report(stream).last_error)
    error = operations.report(stream).last_error
    assert "ValueError: *** has expired, https://vault/?key=*** took none" in error
    assert "s3cret" not in repr(Stream.objects.values().get())


@pytest.mark.parametrize(
    "given",
    [None, [], "Bearer secret", {"Authorization": None}, {"Authorization": 5}, {1: "secret"}],
)
def test_what_are_no_headers_halts(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    given: Any,
) -> None:
    """With a line that names the function and the stream, and no value."""
    use(monkeypatch, lambda stream: given)
    misbehaving_server.reply = good()
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused, match=f"HEADERS gave .* {stream.name}") as refused:
        sync(stream, until_up_to_date=True)
    assert "secret" not in str(refused.value)
    assert (stream.status, misbehaving_server.asked) == (Status.HALTED, [])


@pytest.mark.parametrize("path", ["nowhere.headers", f"{__name__}.nothing", "headers"])
def test_a_path_that_leads_nowhere_halts(add_stream: Add, settings: Any, path: str) -> None:
    """It is the setting that has to be corrected."""
    settings.DURABLE_STATE = {"HEADERS": path}
    with pytest.raises(OperationRefused, match="Correct the setting"):
        sync(add_stream(), until_up_to_date=True)


@pytest.mark.parametrize("value", ["secret\r\nX: y", "sécret\u20ac", "secret\0"])
def test_header_values_that_cannot_be_sent_halt_without_being_shown(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    value: str,
) -> None:
    """A line break, or a letter beyond what HTTP carries, in a token."""
    misbehaving_server.reply = good()
    use(monkeypatch, lambda stream: {"Authorization": value})
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused, match="HEADERS") as refused:
        sync(stream, until_up_to_date=True)
    assert "cret" not in str(refused.value) + stream.last_error + caplog.text


def test_a_function_that_hangs_holds_up_nobody_else(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """Five streams wait for their token;
    the sixth is consumed, and all keep their leases meanwhile.
    """
    settings.DURABLE_STATE = settings.DURABLE_STATE | {"SLICE_SECONDS": 3.0}
    slow: set[int] = set()
    tokens: list[int] = []

    def hang(stream: Stream) -> dict[str, str]:
        if stream.pk in slow:
            time.sleep(2.5)
            tokens.extend(Lease.objects.filter(pk__in=slow).values_list("token", flat=True))
        return {}

    use(monkeypatch, hang)
    server, replies = misbehaving_server, good()
    server.reply = lambda asked: quiet(asked, replies)
    streams = [add_stream(server.url + f"/{n}", live="long-poll") for n in range(6)]
    slow.update(stream.pk for stream in streams[:5])
    watcher = threading.Thread(target=consume_slice, args=("default",))
    watcher.start()
    wait_until(lambda: operations.report(streams[5]).status == "live", 2)
    time.sleep(1)
    assert [leases.acquire(stream, "elsewhere:1:thief:x") for stream in streams] == [None] * 6
    slow.clear()
    watcher.join(15)
    check(streams[5], ITEMS)
    assert set(tokens) <= {1}


def test_a_function_that_hangs_is_named_and_asked_once(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """The stream is stuck, its consumer ends when it is asked to,
    and one thread is all it costs.
    """
    settings.DURABLE_STATE = settings.DURABLE_STATE | {"STUCK_SECONDS": 1}
    monkeypatch.setattr(request_headers, "HEADERS_SECONDS", 0.2)
    go_on, calls = threading.Event(), []

    def hang(stream: Stream) -> dict[str, str]:
        calls.append(threading.current_thread())
        go_on.wait(60)
        return {}

    use(monkeypatch, hang)
    misbehaving_server.reply = lambda asked: quiet(asked, good())
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: operations.report(stream).stuck, 20)
        report = operations.report(stream)
        assert f"HEADERS has given nothing for {stream.name} in 0.2 s" in report.why
        assert f"{__name__}.headers" in report.action
        began = time.monotonic()
    assert time.monotonic() - began < 10  # the consumer was asked to end, and did
    assert len(calls) == 1
    assert misbehaving_server.asked == []
    assert calls[0].daemon
    go_on.set()
    calls[0].join(10)

    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, ITEMS)
