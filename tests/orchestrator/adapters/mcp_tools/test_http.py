"""What becomes of HTTP that is no answer, without a server that would do all of it."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import mcp_types
import pytest

from orchestrator.adapters.mcp_tools import HttpEndpoint
from orchestrator.adapters.mcp_tools.http import FaultTransport, http_client
from orchestrator.adapters.mcp_tools.results import from_error
from orchestrator.adapters.mcp_tools.wire import MAX_MESSAGE_BYTES, Fault
from orchestrator.domain.tools import Outcome

Handler = Callable[[httpx2.Request], httpx2.Response]
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}
JSON = {"content-type": "application/json"}


async def answered(handler: Handler, message: dict[str, Any] = CALL, **headers: str) -> Any:
    transport = FaultTransport(httpx2.MockTransport(handler))
    async with httpx2.AsyncClient(transport=transport) as client:
        return await client.post("http://tools/mcp", json=message, headers=headers)


async def fault(handler: Handler, **headers: str) -> tuple[int, Outcome]:
    body = (await answered(handler, CALL, **headers)).json()
    error = mcp_types.ErrorData.model_validate(body["error"])
    return error.code, from_error(error).outcome


def raising(error: Exception) -> Handler:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise error

    return handler


class NotPublic(Exception):
    """As a guarded network refuses an address."""


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [
        (httpx2.ConnectError("refused"), Fault.NOT_SENT, Outcome.TRANSIENT),
        (httpx2.ConnectTimeout("slow"), Fault.NOT_SENT, Outcome.TRANSIENT),
        (httpx2.PoolTimeout("full"), Fault.BUSY, Outcome.TRANSIENT),
        (httpx2.ReadError("reset"), Fault.BROKEN, Outcome.UNKNOWN),
        (httpx2.WriteError("reset"), Fault.BROKEN, Outcome.UNKNOWN),
        (httpx2.RemoteProtocolError("bad"), Fault.BROKEN, Outcome.UNKNOWN),
        (NotPublic("an address that is not public"), Fault.REFUSED, Outcome.FAILED),
    ],
)
async def test_a_fault_of_the_network_is_an_error_of_that_call(
    error: Exception, code: Fault, outcome: Outcome
) -> None:
    assert await fault(raising(error)) == (code, outcome)


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (401, Fault.REFUSED, Outcome.FAILED),
        (404, Fault.REFUSED, Outcome.FAILED),
        (429, Fault.BUSY, Outcome.TRANSIENT),
        (503, Fault.BUSY, Outcome.TRANSIENT),
        (500, Fault.SERVER_ERROR, Outcome.UNKNOWN),
        (502, Fault.SERVER_ERROR, Outcome.UNKNOWN),
        (202, Fault.UNREADABLE, Outcome.FAILED),
        (200, Fault.UNREADABLE, Outcome.FAILED),
    ],
)
async def test_a_status_says_whether_the_call_happened(
    status: int, code: Fault, outcome: Outcome
) -> None:
    assert await fault(lambda _: httpx2.Response(status, text="sorry")) == (code, outcome)


async def test_an_error_of_the_protocol_is_passed_on() -> None:
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}}
    response = await answered(lambda _: httpx2.Response(400, json=body))
    assert response.json() == body


async def test_an_unknown_session_is_told_from_an_unknown_place() -> None:
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "who?"}}
    lost = await fault(lambda _: httpx2.Response(404, json=body), **{"mcp-session-id": "s"})
    assert lost == (Fault.SESSION_LOST, Outcome.TRANSIENT)


@pytest.mark.parametrize(("named", "waits"), [("7", 7), ("100000", 300), ("soon", 0), ("-1", 0)])
async def test_the_wait_that_a_server_names_is_kept_within_bounds(named: str, waits: float) -> None:
    response = await answered(lambda _: httpx2.Response(429, headers={"retry-after": named}))
    error = mcp_types.ErrorData.model_validate(response.json()["error"])
    assert from_error(error).retry_after_s == waits


async def test_json_beyond_the_bound_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    found = await fault(lambda _: httpx2.Response(200, headers=JSON, content=endless()))
    assert found == (Fault.OVERSIZE, Outcome.FAILED)
    assert sent <= MAX_MESSAGE_BYTES + 2 * 65_536


async def test_a_compressed_answer_is_not_unpacked() -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    packed = gzip.compress(b"0" * 1_000_000)
    found = await fault(lambda _: httpx2.Response(200, headers=headers, content=packed))
    assert found == (Fault.UNREADABLE, Outcome.FAILED)


async def test_a_notification_that_is_lost_harms_nobody() -> None:
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
    response = await answered(raising(httpx2.ConnectError("refused")), notice)
    assert response.status_code == 202


async def test_declared_headers_are_sent_and_no_compression_asked_for() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, headers=JSON, content=json.dumps({"result": {}}))

    endpoint = HttpEndpoint("http://tools/mcp", {"authorization": "Bearer secret"})
    async with http_client(endpoint, httpx2.MockTransport(handler)) as client:
        await client.post(endpoint.url, json=CALL)
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].headers["accept-encoding"] == "identity"
    assert "secret" not in repr(endpoint)
