"""A whole front door over memory and scripted models, and callers to knock on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from orchestrator.adapters.authenticators import OpenAuthenticator
from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.api.agents import Agents
from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.services import Services
from orchestrator.api.sessions import Sessions
from orchestrator.api.usage import UsageReports
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import (
    ChatChunk,
    ChatFinished,
    ChatRequest,
    FinishReason,
    TextChunk,
    ToolSchema,
)
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import Usage
from orchestrator.domain.tools import Outcome, ToolResult, ToolSpec
from orchestrator.ports.auth import Authenticator
from orchestrator.ports.models import Embedder, LanguageModel, RequestClassifier
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry, ToolSource
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2_grpc,
    dead_letters_pb2_grpc,
    inference_pb2_grpc,
    runs_pb2_grpc,
    sessions_pb2_grpc,
    usage_pb2_grpc,
)
from orchestrator.rpc.server import ApiServer, ServerSettings

CATALOGUE = {
    "llm_small": ModelEntry(
        name="llm_small", input_price=100_000, output_price=200_000, quality={"simple": 0.9}
    ),
    "llm_large": ModelEntry(
        name="llm_large", input_price=900_000, output_price=900_000, quality={"hard": 0.9}
    ),
}
TIMEOUT_MS = 600_000
ASSISTANT = AgentSpec(system_prompt="Help.", tools=("calculator",))
ANSWER: tuple[ChatChunk, ...] = (
    TextChunk("Hel"),
    TextChunk("lo"),
    ChatFinished(FinishReason.STOP, Usage(prompt_tokens=10, completion_tokens=5)),
)


@dataclass
class ScriptedLanguage(LanguageModel):
    """Says `chunks`; an exception among them is raised, an event is waited for."""

    chunks: Sequence[ChatChunk | Exception | asyncio.Event] = ANSWER
    requests: list[ChatRequest] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    unready: frozenset[str] = frozenset()
    failing: dict[str, Exception] = field(default_factory=dict)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        self.requests.append(request)
        if request.model in self.failing:
            raise self.failing[request.model]
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                if isinstance(chunk, asyncio.Event):
                    await chunk.wait()
                else:
                    yield chunk
        finally:
            self.closed.set()

    async def ready(self, model: str) -> bool:
        return model not in self.unready


class HardWhenLong(RequestClassifier):
    async def classify(self, texts: Sequence[str]) -> tuple[Classification, ...]:
        return tuple(
            Classification(
                task={"lookup": 1.0},
                complexity={"hard": 1.0} if len(text) > 20 else {"simple": 1.0},
                risk={"low": 1.0},
            )
            for text in texts
        )


@dataclass
class LengthEmbedder(Embedder):
    failure: BaseException | None = None
    gate: asyncio.Event | None = None

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        return tuple((float(len(text)),) * 384 for text in texts)


class OneTool(ToolSource):
    def specs(self) -> Mapping[str, ToolSpec]:
        return {"calculator": ToolSpec(ToolSchema("calculator", "Adds.", {"type": "object"}))}

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:
        return ToolResult(Outcome.OK, "2")


@dataclass
class Fleet:
    """A running server and a channel to it."""

    state: State
    server: ApiServer
    registry: CollectorRegistry
    language: ScriptedLanguage
    embedder: LengthEmbedder
    channel: grpc.aio.Channel

    @property
    def agents(self) -> agents_pb2_grpc.AgentServiceAsyncStub:
        return agents_pb2_grpc.AgentServiceStub(self.channel)

    @property
    def sessions(self) -> sessions_pb2_grpc.SessionServiceAsyncStub:
        return sessions_pb2_grpc.SessionServiceStub(self.channel)

    @property
    def runs(self) -> runs_pb2_grpc.RunServiceAsyncStub:
        return runs_pb2_grpc.RunServiceStub(self.channel)

    @property
    def dead_letters(self) -> dead_letters_pb2_grpc.DeadLetterServiceAsyncStub:
        return dead_letters_pb2_grpc.DeadLetterServiceStub(self.channel)

    @property
    def usage(self) -> usage_pb2_grpc.UsageServiceAsyncStub:
        return usage_pb2_grpc.UsageServiceStub(self.channel)

    @property
    def inference(self) -> inference_pb2_grpc.InferenceServiceAsyncStub:
        return inference_pb2_grpc.InferenceServiceStub(self.channel)

    async def send(self, method: str, body: bytes, *, streams: bool) -> list[bytes]:
        """Sends these bytes, whatever they are, and returns the answers' bytes."""
        channel: Any = self.channel
        if streams:
            return [answer async for answer in channel.unary_stream(method)(body)]
        return [await channel.unary_unary(method)(body)]


@asynccontextmanager
async def serving(
    opened: AbstractAsyncContextManager[State] | None = None,
    *,
    authenticator: Authenticator | None = None,
    **settings: Any,
) -> AsyncIterator[Fleet]:
    async with (
        opened or open_memory_state() as state,
        serving_over(state, authenticator=authenticator, **settings) as fleet,
    ):
        yield fleet


@asynccontextmanager
async def serving_over(
    state: State, *, authenticator: Authenticator | None = None, **settings: Any
) -> AsyncIterator[Fleet]:
    """A replica of the front door: several may serve one state."""
    registry = CollectorRegistry()
    language, embedder, tools = ScriptedLanguage(), LengthEmbedder(), ToolRegistry([OneTool()])
    agents = Agents(
        state.agents, tools=tools, catalogue=CATALOGUE, builtin={"assistant": ASSISTANT}
    )
    runs = Runs(state, agents=agents, timeout_ms=TIMEOUT_MS)
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=runs,
        dead_letters=DeadLetterOffice(state.dead_letters, store=state.runs, runs=runs),
        inference=Inference(
            catalogue=CATALOGUE,
            language=language,
            classifier=HardWhenLong(),
            embedder=embedder,
            tools=tools,
            ledger=state.ledger,
        ),
        usage=UsageReports(state.ledger),
    )
    server = ApiServer(
        services, authenticator or OpenAuthenticator(), ServerSettings(**settings), registry
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Fleet(state, server, registry, language, embedder, channel)
    finally:
        await server.stop(0)


@dataclass(frozen=True)
class Refusal:
    """What a caller learns from a call that failed."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    retry_after_s: float | None = None


def refusal(error: grpc.RpcError) -> Refusal:
    assert isinstance(error, grpc.aio.AioRpcError)
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
            assert (status.code, status.message) == (error.code().value[0], error.details())
    info = _detail(status, error_details_pb2.ErrorInfo())
    bad = _detail(status, error_details_pb2.BadRequest())
    retry = _detail(status, error_details_pb2.RetryInfo())
    if status.details:
        assert info.domain == "fleet"
    return Refusal(
        code=error.code(),
        message=error.details() or "",
        reason=info.reason,
        metadata=dict(info.metadata),
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000
        if retry.HasField("retry_delay")
        else None,
    )


def _detail(status: status_pb2.Status, message: Any) -> Any:
    for detail in status.details:
        detail.Unpack(message)
    return message


async def picture(state: State, tenant: str) -> object:
    """Everything that the tenant can see: equal when nothing changed."""
    agents = await state.agents.list(tenant, limit=500, token="")
    sessions = await state.sessions.list(tenant, limit=500, token="")
    runs = await state.runs.list(tenant, session_id="", limit=500, token="")
    return (
        agents.items,
        sessions.items,
        runs.items,
        [await state.sessions.messages(tenant, s.session_id) for s in sessions.items],
        [await state.feed.read(tenant, r.run_id, after_seq=0, limit=500) for r in runs.items],
    )


def kinds(events: Sequence[Message]) -> list[str]:
    return [event.WhichOneof("payload") or "" for event in events]


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - metrics have no event to wait for
            await asyncio.sleep(0.005)
