"""Opens everything a process needs, in one lifespan. The only importer of adapters."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from orchestrator.adapters.authenticators import ApiKeyAuthenticator, OpenAuthenticator
from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel, TritonRouter
from orchestrator.api.agents import Agents
from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.services import Services
from orchestrator.api.sessions import Sessions
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import FleetError, Unavailable
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.reaper import reap_forever
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.auth import Authenticator
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.rpc.server import ApiServer, ServerSettings
from orchestrator.settings import Settings, Toolbox, Worker
from orchestrator.telemetry.metrics import ProcessMetrics
from orchestrator.toolbox.call import ToolCallHandler
from orchestrator.worker.step import StepHandler, StepSettings

log = logging.getLogger(__name__)

_METRICS_HOST = "127.0.0.1"


class ServeError(Exception):
    """The process can't be started as it is set up; the message says why."""


@dataclass(frozen=True, slots=True)
class Models:
    language: TritonLanguageModel
    router: TritonRouter


async def serve_api(settings: Settings, stopping: asyncio.Event) -> None:
    """Serves fleet.v1 until `stopping` is set, then drains.

    Raises:
        ServeError: the address is taken, or the settings contradict each other.
    """
    with _metrics("api", settings.api.metrics_port) as metrics:
        async with _state(settings) as state, _models(settings) as models:
            server = _api_server(settings, state, models, metrics)
            try:
                await server.start()
            except FleetError as error:
                raise ServeError(error.message) from None
            server.set_serving(True)
            metrics.set_ready(True)
            await stopping.wait()
            metrics.set_ready(False)
            await server.stop(settings.api.grace_s)


async def serve_worker(settings: Settings, stopping: asyncio.Event) -> None:
    """Carries out inference steps until `stopping` is set, then finishes those in hand."""
    section = settings.worker
    with _metrics("worker", section.metrics_port) as metrics:
        async with _state(settings) as state, _models(settings) as models:
            counted = ExecutionMetrics(metrics.registry)
            handler = StepHandler(
                state=state,
                agents=AgentBook(state.agents),
                tools=_tools(settings),
                classifier=models.router,
                language=models.language,
                catalogue=settings.models,
                metrics=counted,
                settings=StepSettings(
                    patience_s=section.patience_s,
                    timeout_s=section.run_timeout_s,
                    lease_s=section.lease_s,
                ),
            )
            await _work(
                kind=WorkKind.REASON,
                state=state,
                handler=handler,
                settings=_loop_settings("worker", section),
                counted=counted,
                metrics=metrics,
                stopping=stopping,
            )


async def serve_toolbox(settings: Settings, stopping: asyncio.Event) -> None:
    """Carries out tool calls until `stopping` is set, then finishes those in hand."""
    section = settings.toolbox
    with _metrics("toolbox", section.metrics_port) as metrics:
        async with _state(settings) as state:
            counted = ExecutionMetrics(metrics.registry)
            handler = ToolCallHandler(
                state.runs, AgentBook(state.agents), _tools(settings), counted
            )
            await _work(
                kind=WorkKind.TOOL,
                state=state,
                handler=handler,
                settings=_loop_settings("toolbox", section),
                counted=counted,
                metrics=metrics,
                stopping=stopping,
            )


async def _work(
    *,
    kind: WorkKind,
    state: State,
    handler: Handler,
    settings: LoopSettings,
    counted: ExecutionMetrics,
    metrics: ProcessMetrics,
    stopping: asyncio.Event,
) -> None:
    loop = ClaimLoop(kind, state.runs, handler, settings, counted)
    reaping = asyncio.create_task(reap_forever(state.runs, counted))
    running = asyncio.create_task(loop.run())
    stopped = asyncio.create_task(stopping.wait())
    metrics.set_ready(True)
    try:
        await asyncio.wait({running, stopped, reaping}, return_when=asyncio.FIRST_COMPLETED)
        metrics.set_ready(False)
        loop.stop()
        await running
        if reaping.done():
            reaping.result()  # it never ends but by a defect: say which
    finally:
        reaping.cancel()
        stopped.cancel()
        await asyncio.gather(reaping, stopped, return_exceptions=True)


def _api_server(
    settings: Settings, state: State, models: Models, metrics: ProcessMetrics
) -> ApiServer:
    tools = _tools(settings)
    agents = Agents(state.agents, tools=tools, catalogue=settings.models, builtin=_builtin_agents())
    timeout_ms = round(settings.worker.run_timeout_s * 1000)
    runs = Runs(state, agents=agents, timeout_ms=timeout_ms)
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=runs,
        dead_letters=DeadLetterOffice(state.dead_letters, store=state.runs, runs=runs),
        inference=Inference(
            catalogue=settings.models,
            language=models.language,
            classifier=models.router,
            embedder=models.router,
            tools=tools,
        ),
    )
    listen = ServerSettings(
        address=settings.api.listen,
        reflection=settings.api.reflection,
        write_limit_s=settings.api.slow_watcher_s,
    )
    try:
        return ApiServer(services, _authenticator(settings), listen, metrics.registry)
    except FleetError as error:
        raise ServeError(error.message) from None


def _authenticator(settings: Settings) -> Authenticator:
    return ApiKeyAuthenticator(settings.api.keys) if settings.api.keys else OpenAuthenticator()


def _builtin_agents() -> dict[str, AgentSpec]:
    file = resources.files("orchestrator.defaults").joinpath("assistant.json")
    fields: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return {fields.pop("name"): AgentSpec.model_validate(fields)}


def _tools(settings: Settings) -> ToolRegistry:
    file = settings.toolbox.lookup_file
    return builtin_tools(records=None if file is None else _records(file))


def _records(file: Path) -> dict[str, Any]:
    try:
        records = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ServeError(f"toolbox.lookup_file {file} can't be read: {error}") from None
    if not isinstance(records, dict):
        raise ServeError(f"toolbox.lookup_file {file} must hold one JSON object: key -> record")
    return records


@asynccontextmanager
async def _state(settings: Settings) -> AsyncIterator[State]:
    """The state; a store that is away is waited for."""
    async with AsyncExitStack() as opened:
        waits = full_jitter(base_s=0.2, cap_s=2.0)
        while True:
            try:
                state = await opened.enter_async_context(
                    open_redis_state(settings.redis.address, shards=settings.redis.shards)
                )
            except Unavailable as error:
                log.warning("%s", error.message)
                await asyncio.sleep(next(waits))
            except FleetError as error:
                raise ServeError(error.message) from None
            else:
                break
        yield state


@asynccontextmanager
async def _models(settings: Settings) -> AsyncIterator[Models]:
    async with TritonConnection(settings.triton.grpc_address) as connection:
        yield Models(TritonLanguageModel(connection, settings.models), TritonRouter(connection))


@contextmanager
def _metrics(role: str, port: int) -> Iterator[ProcessMetrics]:
    """The process's metrics, served while it lives."""
    metrics = ProcessMetrics(role)
    with ExitStack() as serving:
        try:
            serving.enter_context(metrics.serve(_METRICS_HOST, port))
        except OSError as error:
            raise ServeError(f"metrics port {port} can't be used: {error.strerror}") from None
        yield metrics


def _loop_settings(role: str, section: Worker | Toolbox) -> LoopSettings:
    return LoopSettings(
        worker=f"{role}/{socket.gethostname()}/{os.getpid()}",
        slots=section.slots,
        lease_s=section.lease_s,
        grace_s=section.grace_s,
    )
