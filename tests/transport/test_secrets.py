"""A server that repeats what we sent to it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping

import httpx
import pytest

from durable_state.errors import DurableStateError
from durable_state.transport import append, head
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply

SECRET = "tok-81c4f2-once"


async def headers() -> Mapping[str, str]:
    """As a project gives them."""
    return {"Authorization": f"Bearer {SECRET}", "X-Tenant": "acme-tenant"}


def body(asked: Asked) -> Reply:
    """A 401 that quotes every header, and the token once more at the end of what is read."""
    quoted = "; ".join(f"{name}={value}" for name, value in asked.headers.items()).encode()
    return Reply(401, {}, (quoted + b" " * (505 - len(quoted)) + SECRET.encode(),))


def slow(asked: Asked) -> Reply:
    """A 403 that stops in the middle of the token."""
    return Reply(403, {}, (b"denied: " + SECRET.encode() * 2,), cut=8 + 9, silent=True)


def redirect(asked: Asked) -> Reply:
    """A host that is the token."""
    return Reply(302, {"Location": f"https://{SECRET}.example/"})


def broken(asked: Asked) -> Reply:
    """An invalid head, which the client library quotes."""
    return Reply(200, {f"{SECRET} bad": "x", "Content-Type": f"text/{SECRET}"})


@pytest.mark.parametrize(
    ("reply", "query"),
    [
        (body, ""),
        (body, "?key=query-s3cret&other-s3cret"),
        (redirect, "?key=query-s3cret&other-s3cret"),
        (broken, ""),
        (slow, ""),
    ],
)
async def test_no_error_and_no_log_holds_what_was_sent(
    misbehaving_server: MisbehavingServer,
    client: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    reply: object,
    query: str,
) -> None:
    """Neither its text, nor its traceback with all causes, nor what the client libraries log."""
    caplog.set_level(logging.DEBUG)
    misbehaving_server.reply = reply  # type: ignore[assignment]
    with pytest.raises(DurableStateError) as caught:
        await append(client, f"{misbehaving_server.url}/s{query}", [b"{}"], headers=headers)
    error = caught.value
    shown = "".join([str(error), repr(error.args), *traceback.format_exception(error), caplog.text])
    assert len(misbehaving_server.asked) == 1
    for secret in (SECRET, "tok-81c4", "acme-tenant", "s3cret"):
        assert secret not in shown


async def test_what_the_server_says_besides_stays(
    misbehaving_server: MisbehavingServer, client: httpx.AsyncClient
) -> None:
    """A person has to see why."""
    misbehaving_server.reply = lambda asked: Reply(401, {}, (b"The key has expired.",))
    with pytest.raises(DurableStateError, match="The key has expired"):
        await append(client, misbehaving_server.url, [b"{}"], headers=headers)
    misbehaving_server.head = Reply(401)
    with pytest.raises(DurableStateError, match="401"):
        await head(client, misbehaving_server.url, headers=headers)
