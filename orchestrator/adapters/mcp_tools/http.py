"""HTTP as MCP needs it: a fault of one call is that call's, and nothing is read without a bound.

The SDK's transport ends the whole session, with every call in flight, when one POST
fails to connect, and reads a JSON answer of any size. So between it and the network
stands a transport that answers such a call with a JSON-RPC error of `Fault`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from orchestrator.adapters.mcp_tools.server import HttpEndpoint
from orchestrator.adapters.mcp_tools.wire import MAX_MESSAGE_BYTES, Fault

OpenHttp = Callable[[HttpEndpoint], httpx2.AsyncBaseTransport]
"""Opens the way to a server. An address that may not be reached is refused by an exception of
its own, one that is not httpx2's, before anything is sent."""

_CONNECT_S = 5.0
_NOTICE_S = 5.0  # the SDK sends nothing else while a notification is on its way
_SILENCE_S = 300.0  # a call ends by its own timeout long before
_LONGEST_WAIT_S = 300.0

_SAID_CHARS = 200


def http_client(endpoint: HttpEndpoint, network: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    # Compressed answers are not asked for: their size is not known before they are unpacked.
    headers = {**endpoint.headers, "accept-encoding": "identity"}
    return httpx2.AsyncClient(
        transport=FaultTransport(network), headers=headers, trust_env=False, follow_redirects=False
    )


def http_transport(endpoint: HttpEndpoint, client: httpx2.AsyncClient) -> Transport:
    return streamable_http_client(
        endpoint.url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
    )


class FaultTransport(httpx2.AsyncBaseTransport):
    def __init__(self, network: httpx2.AsyncBaseTransport) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "POST":
            request.extensions["timeout"] = _timeouts(
                None if request.method == "GET" else _NOTICE_S
            )
            return await self._network.handle_async_request(request)
        expects_answer = "id" in json.loads(request.content)
        request.extensions["timeout"] = _timeouts(_SILENCE_S if expects_answer else _NOTICE_S)
        answer = await self._exchanged(request, expects_answer)
        if expects_answer or answer.is_success:
            return answer
        await answer.aclose()
        return httpx2.Response(202)  # nobody waits for what a notification is answered with

    async def _exchanged(self, request: httpx2.Request, expects_answer: bool) -> httpx2.Response:
        try:
            response = await self._network.handle_async_request(request)
        except httpx2.PoolTimeout:
            return _fault(Fault.BUSY, "all connections to the server are in use")
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return _fault(Fault.NOT_SENT, "the server can't be reached")
        except httpx2.TransportError:
            return _fault(Fault.BROKEN, "the connection broke")
        except Exception as refused:  # noqa: BLE001 - the network's own, see OpenHttp
            return _fault(Fault.REFUSED, str(refused)[:_SAID_CHARS])
        if not expects_answer:
            return response
        try:
            return await _read(request, response)
        except httpx2.TransportError:
            return _fault(Fault.BROKEN, "the connection broke")

    async def aclose(self) -> None:
        await self._network.aclose()


def _timeouts(read_s: float | None) -> dict[str, float | None]:
    return {"connect": _CONNECT_S, "write": _CONNECT_S, "pool": _CONNECT_S, "read": read_s}


async def _read(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """The response with its JSON read; event streams are left to be read as they come."""
    if response.has_redirect_location:  # the SDK follows it within the origin
        await response.aclose()
        where = {"location": response.headers["location"]}
        return httpx2.Response(response.status_code, headers=where)
    kind = response.headers.get("content-type", "").lower()
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        return _fault(Fault.UNREADABLE, "the answer is compressed, which was not asked for")
    if response.is_success and kind.startswith("text/event-stream"):
        return response
    try:
        body = await _bounded(response)
    finally:
        await response.aclose()
    if body is None:
        return _fault(Fault.OVERSIZE, "the answer is too large")
    if response.status_code == 404 and "mcp-session-id" in request.headers:
        return _fault(Fault.SESSION_LOST, "the server does not know the session any more")
    if kind.startswith("application/json") and (response.is_success or _is_error(body)):
        return httpx2.Response(response.status_code, headers=_kept(response), content=body)
    return _by_status(response, kind)


async def _bounded(response: httpx2.Response) -> bytes | None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    body = bytearray()
    async for chunk in response.stream:
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            return None
    return bytes(body)


def _kept(response: httpx2.Response) -> dict[str, str]:
    names = ("content-type", "mcp-session-id")
    return {name: response.headers[name] for name in names if name in response.headers}


def _is_error(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and isinstance(answer.get("error"), dict)


def _by_status(response: httpx2.Response, kind: str) -> httpx2.Response:
    status = response.status_code
    said = f"the server answered HTTP {status}"
    if response.is_success:
        return _fault(Fault.UNREADABLE, f"{said} with {kind[:40] or 'nothing'}")
    if status in {429, 503}:
        return _fault(Fault.BUSY, said, retry_after_s=_wait(response))
    return _fault(Fault.SERVER_ERROR if status >= 500 else Fault.REFUSED, said)


def _wait(response: httpx2.Response) -> float:
    named = response.headers.get("retry-after", "")
    return min(float(named), _LONGEST_WAIT_S) if named.isdecimal() else 0.0


def _fault(fault: Fault, message: str, **data: Any) -> httpx2.Response:
    # The SDK fills in the id of the request; any status from 400 on makes it look for an error.
    error = {"code": int(fault), "message": message, "data": data}
    return httpx2.Response(400, json={"jsonrpc": "2.0", "id": None, "error": error})
