"""A snapshot of many rows: killed while it is staged and while it is switched, in bounded memory,
and never seen in part.

``DURABLE_STATE_SNAPSHOT_ROWS`` asks for another size than 50,000 rows.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models import Count, Max, Min, Sum

from durable_state import operations
from durable_state.consumer.lease import valid_leases
from durable_state.models import Generation, StagedChange, Stream
from tests.app.models import Message
from tests.consumer.support.consuming import start_worker
from tests.wire import END, START, encode

ROWS = int(os.environ.get("DURABLE_STATE_SNAPSHOT_ROWS", "50000"))
LEASE = 3
"""In seconds; with more rows, a switch takes longer."""
PEAK_MB = 160
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120 + ROWS // 500)]


def item(number: int, text: str) -> bytes:
    """About 240 bytes each, with keys in no particular order."""
    key = number * 0x9E3779B97F4A7C15 % 2**64
    return (
        b'{"type":"message","key":"%016x",'
        b'"value":{"text":"%b %d","likes":%d,"isEdited":true,"more":"%b"},'
        b'"headers":{"operation":"insert","txid":"%d","timestamp":"2026-01-01T00:00:00Z"}}'
        % (key, text.encode(), number, number % 1000, b"x" * 70, number // 100)
    )


def messages() -> Iterator[bytes]:
    """Some rows, and a snapshot of many without its end; of the first rows it holds only one."""
    yield from (item(-number, "old") for number in range(10))
    yield encode(START)
    yield from (item(number, "new") for number in range(ROWS))


STAGED = ROWS + 11


@contextmanager
def served(may_end: Event) -> Iterator[str]:
    """Serves the messages as one response, made as they are sent, and the snapshot's end as
    another, once it may be sent.
    """

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            [offset] = parse_qs(urlsplit(self.path).query).get("offset", ["-1"])
            answers: dict[str, Iterable[bytes]] = {"staged": [encode(END)], "end": []}
            if offset == "staged":
                may_end.wait(60)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Stream-Next-Offset", "end" if offset in answers else "staged")
            if offset in answers:
                self.send_header("Stream-Up-To-Date", "true")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"[")
            for number, each in enumerate(answers.get(offset, messages())):
                self.wfile.write(b"," + each if number else each)
            self.wfile.write(b"]")
            self.close_connection = True

        wbufsize = 1 << 20

        def handle(self) -> None:
            with suppress(OSError):  # the reader was killed
                super().handle()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/s"
    finally:
        server.shutdown()
        server.server_close()


def wait_for(process: subprocess.Popen[str], stream: Stream, ordinal: int) -> None:
    while stream.ordinal < ordinal:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
        stream.refresh_from_db()


def peak_mb(process: subprocess.Popen[str]) -> float:
    """The peak memory of the process, which Linux reports while it lives."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="asks Linux for the memory of a process"
)
def test_killed_while_it_is_staged_and_while_it_is_switched(database: str) -> None:
    may_end = Event()
    with served(may_end) as url:
        stream = Stream.objects.using(database).create(name="large", url=url)
        rows = Message.objects.using(database).filter(room="large")

        process = start_worker(stream, BATCH_ROWS=5000, LEASE_SECONDS=LEASE)
        wait_for(process, stream, ROWS // 3)
        process.kill()
        process.communicate()
        assert rows.filter(text__startswith="old").count() == rows.count() == 10

        process = start_worker(stream, BATCH_ROWS=5000, LEASE_SECONDS=LEASE)
        wait_for(process, stream, STAGED)
        may_end.set()
        time.sleep(
            ROWS / 200_000
        )  # what follows is the switch, which takes about three times as long
        peaks = [peak_mb(process)]
        process.kill()
        process.communicate()
        stream.refresh_from_db()
        assert stream.ordinal == STAGED
        assert rows.filter(text__startswith="old").count() == rows.count() == 10

        started = time.monotonic()
        process = start_worker(stream, BATCH_ROWS=5000, LEASE_SECONDS=LEASE)
        held = []
        while process.poll() is None:
            peaks.append(peak_mb(process))
            held.append(
                valid_leases(database)
                .filter(stream=stream, seat__name__contains=f":{process.pid}:")
                .exists()
            )
            time.sleep(0.05)
        _, err = process.communicate()
        assert process.returncode == 0, err
        took = time.monotonic() - started
        # SQLite's single writer keeps out the thread that renews, and also whoever would take over.
        if database != "default":
            assert False not in held[held.index(True) : len(held) - held[::-1].index(True)]

        stream.refresh_from_db()
        assert stream.ordinal == STAGED + 1
        assert (stream.applied_count, stream.control_count) == (ROWS + 10, 2)
        found = rows.filter(text__startswith="new").aggregate(
            Count("pk"), Sum("likes"), Max("text"), Min("text")
        )
        assert rows.count() == found["pk__count"] == ROWS
        assert found["likes__sum"] == sum(number % 1000 for number in range(ROWS))
        assert not Generation.objects.using(database).exists()
        assert not StagedChange.objects.using(database).exists()
        print(f"{database}: {ROWS} rows, the last run {took:.1f} s, at most {max(peaks):.0f} MB")
        assert max(peaks) < PEAK_MB
        if ROWS <= 100_000:
            assert operations.verify(stream).equal
