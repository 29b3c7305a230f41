from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from orchestrator.domain.tools import Effect, Outcome
from tests.orchestrator.adapters.http_tools.serving import (
    HOST,
    KEY,
    Request,
    Server,
    answered,
    call,
    http_tool,
    said,
    serving,
    source,
)

JSON = {"Content_Type": "application/json"}
ORDER = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "note": {"type": "string"}},
    "required": ["order"],
}


async def test_the_arguments_are_the_body_and_the_key_a_header() -> None:
    result, server = await answered(said(200, b'{"ok": 1}', **JSON), {"a": [1, "é"]})
    assert (result.outcome, result.content) == (Outcome.OK, '{"ok": 1}')
    (request,) = server.seen
    assert (request.method, request.target) == ("POST", "/do")
    assert json.loads(request.body) == {"a": [1, "é"]}
    assert request.headers["idempotency-key"] == KEY
    assert request.headers["host"] == f"{HOST}:{server.port}"
    assert request.headers["content-type"] == "application/json"


async def test_arguments_go_to_the_path_and_the_query_and_can_not_leave_their_place() -> None:
    result, server = await answered(
        said(200, b"yes"),
        {"order": "a/b?c=d#e ü", "tags": ["x", "y&z"], "none": None, "deep": {"k": 1}},
        path="/orders/{order}/state?fixed=1",
        method="GET",
        effect=Effect.PURE,
        parameters={**ORDER, "additionalProperties": True},
    )
    (request,) = server.seen
    assert result.content == "yes"
    assert request.target == (
        "/orders/a%2Fb%3Fc%3Dd%23e%20%C3%BC/state?fixed=1&tags=x&tags=y%26z&deep=%7B%22k%22%3A+1%7D"
    )
    assert "idempotency-key" not in request.headers
    assert request.body == b""


@pytest.mark.parametrize("order", ["..", ".", ""])
async def test_an_argument_that_would_change_the_path_is_refused(order: str) -> None:
    result, server = await answered(
        said(200), {"order": order}, path="/orders/{order}", parameters=ORDER
    )
    assert result.outcome is Outcome.FAILED
    assert "arguments.order" in result.content
    assert server.seen == []


@pytest.mark.parametrize(
    ("effect", "status", "headers", "outcome"),
    [
        (Effect.AT_MOST_ONCE, 204, {}, Outcome.OK),
        (Effect.AT_MOST_ONCE, 400, {}, Outcome.FAILED),
        (Effect.AT_MOST_ONCE, 404, {}, Outcome.FAILED),
        (Effect.AT_MOST_ONCE, 301, {"Location": "/elsewhere"}, Outcome.FAILED),
        (Effect.AT_MOST_ONCE, 303, {"Location": "/elsewhere"}, Outcome.UNKNOWN),
        (Effect.AT_MOST_ONCE, 429, {}, Outcome.TRANSIENT),
        (Effect.AT_MOST_ONCE, 503, {"Retry_After": "7"}, Outcome.TRANSIENT),
        (Effect.AT_MOST_ONCE, 503, {}, Outcome.UNKNOWN),
        (Effect.AT_MOST_ONCE, 500, {}, Outcome.UNKNOWN),
        (Effect.IDEMPOTENT, 500, {}, Outcome.TRANSIENT),
        (Effect.PURE, 502, {}, Outcome.TRANSIENT),
    ],
)
async def test_a_status_says_what_became_of_the_call(
    effect: Effect, status: int, headers: dict[str, str], outcome: Outcome
) -> None:
    reply = said(status, b"" if status == 204 else b"why", **headers)
    result, server = await answered(reply, effect=effect)
    assert result.outcome is outcome
    assert str(status) in result.content
    assert result.retry_after_s == (7.0 if "Retry_After" in headers else 0.0)
    assert len(server.seen) == 1


async def test_retry_after_as_a_date_is_counted_from_the_servers_clock() -> None:
    reply = said(
        503,
        Retry_After="Fri, 20 Nov 2026 10:00:30 GMT",
        Date="Fri, 20 Nov 2026 10:00:10 GMT",
    )
    result, _ = await answered(reply)
    assert result.retry_after_s == 20.0


async def test_a_service_that_is_not_there_did_nothing() -> None:
    async with serving(said(200)) as server:
        port = server.port
    async with source(http_tool(f"http://{HOST}:{port}/", effect=Effect.AT_MOST_ONCE)) as tools:
        result = await call(tools)
    assert result.outcome is Outcome.TRANSIENT
    assert "can't be reached" in result.content


async def test_a_name_that_does_not_resolve_did_nothing() -> None:
    async with source(http_tool("http://nowhere.test:81/")) as tools:
        assert (await call(tools)).outcome is Outcome.TRANSIENT


async def test_silence_after_the_request_leaves_it_open_what_happened() -> None:
    async def never(_: Request, __: asyncio.StreamWriter) -> bytes | None:
        await asyncio.Event().wait()
        return None

    result, server = await answered(never, effect=Effect.AT_MOST_ONCE, timeout_s=0.3)
    assert result.outcome is Outcome.UNKNOWN
    assert "longer than 0.3 s" in result.content
    assert len(server.seen) == 1


async def test_a_connection_that_breaks_after_the_request_leaves_it_open() -> None:
    async def hang_up(_: Request, __: asyncio.StreamWriter) -> bytes | None:
        return None

    result, _ = await answered(hang_up, effect=Effect.AT_MOST_ONCE)
    assert result.outcome is Outcome.UNKNOWN


async def test_a_body_that_drips_ends_at_the_timeout() -> None:
    async def drip(_: Request, writer: asyncio.StreamWriter) -> bytes | None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    result, _ = await answered(drip, timeout_s=0.4)
    assert result.outcome is Outcome.UNKNOWN


async def test_a_body_without_end_is_read_up_to_the_bound() -> None:
    sent = 0

    async def flood(_: Request, writer: asyncio.StreamWriter) -> bytes | None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    result, _ = await answered(flood, max_response_bytes=100_000)
    assert result.outcome is Outcome.OK
    assert result.content == "x" * 100_000 + "\n[the response is longer and was cut here]"
    assert sent < 64 * 1_048_576


@pytest.mark.parametrize(
    ("body", "headers", "content"),
    [
        ("Grüße".encode("latin-1"), {"Content_Type": "text/plain; charset=ISO-8859-1"}, "Grüße"),
        (b"\xff\xfe", {"Content_Type": "text/plain"}, "\ufffd\ufffd"),
        (b"\x89PNG", {"Content_Type": "image/png"}, "[4 bytes of image/png, not shown]"),
        (
            b"\x1f\x8b",
            {"Content_Type": "text/plain", "Content_Encoding": "gzip"},
            "[2 bytes of text/plain, gzip, not shown]",
        ),
        (b"{}", {"Content_Type": "application/problem+json"}, "{}"),
        (b"x", {"Content_Type": "text/plain; charset=punycode"}, "x"),
    ],
)
async def test_a_body_is_shown_as_text_or_said_not_to_be(
    body: bytes, headers: dict[str, str], content: str
) -> None:
    result, _ = await answered(said(200, body, **headers))
    assert result.content == content


async def redirects(location: str, **fields: Any) -> tuple[Outcome, list[str]]:
    async def answer(request: Request, _: asyncio.StreamWriter) -> bytes | None:
        if request.target == "/end":
            return said(200, b"here")
        return said(302, Location=location)

    result, server = await answered(answer, method="GET", effect=Effect.PURE, **fields)
    return result.outcome, [request.target for request in server.seen]


async def test_a_redirect_is_not_followed_unless_allowed() -> None:
    assert await redirects("/end") == (Outcome.FAILED, ["/do"])
    assert await redirects("/end", redirects=1) == (Outcome.OK, ["/do", "/end"])
    assert await redirects("/do", redirects=2) == (Outcome.FAILED, ["/do", "/do", "/do"])


@pytest.mark.parametrize(
    "location",
    ["http://other.test/end", "//127.0.0.1/end", f"https://{HOST}/end", f"http://{HOST}:1/end"],
)
async def test_a_redirect_to_another_origin_is_never_followed(location: str) -> None:
    assert await redirects(location, redirects=3) == (Outcome.FAILED, ["/do"])


async def test_what_must_not_happen_twice_goes_over_a_connection_of_its_own() -> None:
    async def connections(effect: Effect) -> int:
        async with serving(said(200)) as server:
            async with source(http_tool(f"http://{HOST}:{server.port}/", effect=effect)) as tools:
                for _ in range(3):
                    assert (await call(tools)).ok
            return server.connections

    assert await connections(Effect.AT_MOST_ONCE) == 3
    assert await connections(Effect.IDEMPOTENT) == 1


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def wait(request: Request, _: asyncio.StreamWriter) -> bytes | None:
        arrived.set()
        assert await request.rest.read() == b""
        closed.set()
        return None

    async with (
        serving(wait) as server,
        source(http_tool(f"http://{HOST}:{server.port}/")) as tools,
    ):
        calling = asyncio.create_task(call(tools))
        await asyncio.wait_for(arrived.wait(), 10)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_cookie_of_one_call_is_not_in_the_next() -> None:
    async with (
        serving(said(200, Set_Cookie="session=tenant-a")) as server,
        source(http_tool(f"http://{HOST}:{server.port}/")) as tools,
    ):
        await call(tools)
        await call(tools)
    assert "cookie" not in server.seen[1].headers


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(said(502, b"proxied")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        result, server = await answered(said(200, b"direct"))
    assert (result.content, proxy.connections) == ("direct", 0)
    assert len(server.seen) == 1


async def test_a_secret_header_is_sent_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Server] = []
    with caplog.at_level(logging.INFO):
        for reply in (said(200), said(401), b"no http at all\r\n\r\n"):
            async with serving(reply) as server:
                tool = http_tool(f"http://{HOST}:{server.port}/", headers={"X-Token": "hunter2"})
                async with source(tool) as tools:
                    result = await call(tools)
                    assert "hunter2" not in repr((tool, tools, result))
                seen.append(server)
    assert [server.seen[0].headers["x-token"] for server in seen] == ["hunter2"] * 3
    assert "hunter2" not in caplog.text
