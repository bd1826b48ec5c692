"""HEADERS: called for each request, in a thread, with the ORM; its result is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer import project_calls, request_headers
from durable_state.consumer.run import consume_slice, sync
from durable_state.errors import OperationRefused
from durable_state.models import Intent, Lease, Status, Stream
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
    """The project's function, which the setting names."""
    return give(stream)


@pytest.fixture(autouse=True)
def setting(settings: Any) -> None:
    """Uses it."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "HEADERS": f"{__name__}.headers"}


def use(monkeypatch: pytest.MonkeyPatch, function: Callable[[Stream], Any]) -> None:
    """Makes HEADERS do this."""
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
    """A token service may be down; the status names the function and its error."""
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
    """Headers sent before, and whatever looks like a secret, are in no error of a later call."""
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
    with pytest.raises(OperationRefused, match=f"HEADERS did .* {stream.name}") as refused:
        sync(stream, until_up_to_date=True)
    assert "secret" not in str(refused.value)
    assert (stream.status, misbehaving_server.asked) == (Status.HALTED, [])


@pytest.mark.parametrize("path", ["nowhere.headers", f"{__name__}.nothing", "headers"])
def test_a_path_that_leads_nowhere_halts(add_stream: Add, settings: Any, path: str) -> None:
    """The setting has to be corrected."""
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
    """A line break, or a character beyond what HTTP carries, in a token."""
    misbehaving_server.reply = good()
    use(monkeypatch, lambda stream: {"Authorization": value})
    stream = add_stream(misbehaving_server.url + "/s")
    with pytest.raises(OperationRefused, match="HEADERS") as refused:
        sync(stream, until_up_to_date=True)
    assert "cret" not in str(refused.value) + stream.last_error + caplog.text


def test_a_function_that_hangs_costs_its_own_stream_alone(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """Sixty-four streams wait for their token. The last one is consumed; the leases of the
    others are given back, each costs one thread, and their status names the function.
    """
    settings.DURABLE_STATE = settings.DURABLE_STATE | {"SLICE_SECONDS": 6.0}
    hanging: set[int] = set()
    go_on, calls = threading.Event(), []

    def hang(stream: Stream) -> dict[str, str]:
        if stream.pk in hanging:
            calls.append(threading.current_thread())
            go_on.wait(60)
        return {}

    use(monkeypatch, hang)
    server, replies = misbehaving_server, good()
    server.reply = lambda asked: quiet(asked, replies)
    streams = [add_stream(server.url + f"/{n}", live="long-poll") for n in range(65)]
    hanging.update(stream.pk for stream in streams[:64])
    worker = threading.Thread(target=consume_slice, args=("default",))
    worker.start()
    try:
        wait_until(lambda: operations.report(streams[64]).status == "live")
        wait_until(lambda: not Lease.objects.filter(pk__in=hanging).exclude(seat=None).exists())
        report = operations.report(streams[0])
        assert f"{__name__}.headers has not returned for 1 s" in report.last_error
        assert f"{__name__}.headers" in report.action
        assert len(calls) == 64
        assert all(thread.daemon for thread in calls)
        assert operations.report(streams[64]).status == "live"
    finally:
        go_on.set()
        worker.join(15)
    for thread in calls:
        thread.join(10)
    check(streams[64], ITEMS)


def test_a_function_that_hangs_is_named_and_ends_sync(
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a line that says which one; once it returns, the stream continues."""
    monkeypatch.setattr(request_headers, "HEADERS_SECONDS", 0.2)
    go_on, calls = threading.Event(), []

    def hang(stream: Stream) -> dict[str, str]:
        calls.append(threading.current_thread())
        go_on.wait(60)
        return {}

    use(monkeypatch, hang)
    misbehaving_server.reply = lambda asked: quiet(asked, good())
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with pytest.raises(OperationRefused, match=r"headers has not returned for 0\.2 s"):
        sync(stream)
    assert len(calls) == 1
    assert misbehaving_server.asked == []
    go_on.set()
    calls[0].join(10)

    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    check(stream, ITEMS)


def test_of_calls_that_hang_there_is_a_bound(
    add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process makes no more of them; the stream is tried again."""
    monkeypatch.setattr(project_calls, "MOST_HANGING", 0)
    use(monkeypatch, lambda stream: {})
    stream = add_stream("http://127.0.0.1:9/s")
    with consuming(stream):
        wait_until(lambda: operations.report(stream).status == "retrying")
        assert "0 calls of the project's code hang" in operations.report(stream).last_error
