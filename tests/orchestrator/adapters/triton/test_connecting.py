"""A connection to a server that takes its time, on a machine with too much to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.adapters.triton import TritonConnection
from orchestrator.adapters.triton.wire import infer_request


class Server:
    """Of one model that takes hints: what is said to it stays without an answer."""

    def __init__(self) -> None:
        self.streams = 0
        self.two = asyncio.Event()

    async def ModelConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802 - Triton's names
        answer = service_pb2.ModelConfigResponse()
        answer.config.name, answer.config.backend = request.name, "mine"
        answer.config.max_batch_size = 7
        answer.config.parameters["cancel_hints"].string_value = "mine"
        return answer

    async def ModelStreamInfer(self, _requests: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.streams += 1
        if self.streams == 1:
            yield service_pb2.ModelStreamInferResponse()
        else:
            self.two.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[int]:
    running = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Rest(server), running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        yield port
    finally:
        await running.stop(None)


class _Rest(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, server: Server) -> None:
        self.ModelConfig = server.ModelConfig
        self.ModelStreamInfer = server.ModelStreamInfer


@asynccontextmanager
async def slow_to_greet(port: int, delay_s: float) -> AsyncIterator[int]:
    """The same server behind one that takes a connection and then lets it wait."""
    connections: set[asyncio.Task[None] | None] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        await asyncio.sleep(delay_s)
        onward, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(passed(reader, back), passed(onward, writer))

    listening = await asyncio.start_server(taken, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await asyncio.gather(*(task for task in connections if task is not None))


async def test_a_server_that_takes_a_second_to_greet_is_connected_to() -> None:
    async with (
        serving(Server()) as port,
        slow_to_greet(port, delay_s=1.0) as slow,
        TritonConnection(f"127.0.0.1:{slow}") as connection,
    ):
        assert await connection.max_batch_size("any") == 7


async def test_closing_does_not_wait_for_a_hint_that_is_not_answered() -> None:
    server = Server()
    async with serving(server) as port:
        async with TritonConnection(f"127.0.0.1:{port}", timeout_s=3600) as connection:
            stream = connection.stream(infer_request("any", [], request_id="a"))
            await anext(stream)
            await stream.aclose()
            await server.two.wait()
        assert server.streams == 2
        left = [task for task in asyncio.all_tasks() if "CancelHints" in repr(task)]
        assert left == []
