"""Opens everything a process needs, in one lifespan.

Only this, `model_composition` and `tool_composition` import adapters.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from importlib import resources
from typing import Any

from orchestrator.adapters.authenticators import ApiKeyAuthenticator, OpenAuthenticator
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.api.agents import Agents
from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.services import Services
from orchestrator.api.sessions import Sessions
from orchestrator.api.usage import UsageReports
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.catalogue import dearest_call_micros
from orchestrator.domain.errors import FleetError, Unavailable
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import full_jitter
from orchestrator.execution.sweeper import Sweeper
from orchestrator.model_composition import Models, open_models
from orchestrator.ports.auth import Authenticator
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.rpc.server import ApiServer, ServerSettings
from orchestrator.settings import Settings, Toolbox, Worker
from orchestrator.telemetry.mcp_servers import McpMetrics
from orchestrator.telemetry.metrics import ProcessMetrics
from orchestrator.tool_composition import ToolSetupError, open_tools, runner_settings
from orchestrator.toolbox.call import CallSettings, ToolCallHandler
from orchestrator.toolbox.dispatch import ToolDispatcher
from orchestrator.toolbox.runner import ToolRunner
from orchestrator.toolbox.sub_run import SubRuns, SubRunSettings
from orchestrator.worker.context import HISTORY_MESSAGES
from orchestrator.worker.step import StepHandler, StepSettings

log = logging.getLogger(__name__)

_METRICS_HOST = "127.0.0.1"


class ServeError(Exception):
    """The process can't be started as it is set up; the message says why."""


class StoppedError(Exception):
    """The process was told to stop before it had started."""


async def serve_api(settings: Settings, stopping: asyncio.Event) -> None:
    """Serves fleet.v1 until `stopping` is set, then drains.

    Raises:
        ServeError: the address is taken, or the settings contradict each other.
    """
    with _metrics("api", settings.api.metrics_port) as metrics:
        async with (
            _tools(settings) as tools,  # first: what is set up wrongly is said at once
            _state(settings, stopping) as state,
            open_models(settings, metrics.registry) as models,
        ):
            server = _api_server(settings, state, models, tools, metrics)
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
        async with (
            _tools(settings) as tools,  # first: what is set up wrongly is said at once
            _state(settings, stopping) as state,
            open_models(settings, metrics.registry) as models,
        ):
            counted = ExecutionMetrics(metrics.registry)
            handler = StepHandler(
                runs=state.runs,
                agents=AgentBook(state.agents),
                tools=tools,
                classifier=models.classifier,
                language=models.language,
                catalogue=models.catalogue,
                live=models.live,
                metrics=counted,
                settings=StepSettings(
                    patience_s=section.patience_s,
                    interrupt_ttl_ms=_milliseconds(section.interrupt_timeout_s),
                ),
            )
            await _work(
                kind=WorkKind.REASON,
                state=state,
                handler=handler,
                settings=_loop_settings("worker", settings, section, history=HISTORY_MESSAGES),
                counted=counted,
                metrics=metrics,
                stopping=stopping,
                reserve_micros=lambda: dearest_call_micros(models.catalogue),
            )


async def serve_toolbox(settings: Settings, stopping: asyncio.Event) -> None:
    """Carries out tool calls until `stopping` is set, then finishes those in hand."""
    section = settings.toolbox
    with _metrics("toolbox", section.metrics_port) as metrics:
        async with (
            _tools(settings, McpMetrics(metrics.registry)) as tools,
            _state(settings, stopping) as state,
        ):
            counted = ExecutionMetrics(metrics.registry)
            handler = _tool_handler(settings, state, tools, counted)
            await _work(
                kind=WorkKind.TOOL,
                state=state,
                handler=handler,
                settings=_loop_settings("toolbox", settings, section),
                counted=counted,
                metrics=metrics,
                stopping=stopping,
            )


def _tool_handler(
    settings: Settings, state: State, tools: ToolRegistry, counted: ExecutionMetrics
) -> Handler:
    agents, timeout_s = AgentBook(state.agents), settings.worker.run_timeout_s
    calls = ToolCallHandler(
        runs=state.runs,
        agents=agents,
        tools=tools,
        runner=ToolRunner(tools, runner_settings(settings)),
        metrics=counted,
        settings=CallSettings(
            run_timeout_s=timeout_s,
            interrupt_ttl_ms=_milliseconds(settings.worker.interrupt_timeout_s),
        ),
    )
    depth = settings.toolbox.sub_run_depth
    return ToolDispatcher(
        runs=state.runs,
        agents=agents,
        tools=tools,
        calls=calls,
        sub_runs=SubRuns(state.runs, agents, SubRunSettings(depth, timeout_s)),
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
    reserve_micros: Callable[[], int] = lambda: 0,
) -> None:
    loop = ClaimLoop(kind, state.runs, handler, settings, counted, reserve_micros=reserve_micros)
    sweeping = asyncio.create_task(Sweeper(state.runs, counted).run())
    running = asyncio.create_task(loop.run())
    stopped = asyncio.create_task(stopping.wait())
    metrics.set_ready(True)
    try:
        await asyncio.wait({running, stopped, sweeping}, return_when=asyncio.FIRST_COMPLETED)
        metrics.set_ready(False)
        loop.stop()
        await running
        if sweeping.done():
            sweeping.result()  # it never ends but by a defect: say which
    finally:
        sweeping.cancel()
        stopped.cancel()
        await asyncio.gather(sweeping, stopped, return_exceptions=True)


def _api_server(
    settings: Settings,
    state: State,
    models: Models,
    tools: ToolRegistry,
    metrics: ProcessMetrics,
) -> ApiServer:
    agents = Agents(
        state.agents, tools=tools, catalogue=models.catalogue, builtin=_builtin_agents()
    )
    timeout_ms = round(settings.worker.run_timeout_s * 1000)
    runs = Runs(state, agents=agents, timeout_ms=timeout_ms)
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=runs,
        dead_letters=DeadLetterOffice(state.dead_letters, store=state.runs, runs=runs),
        inference=Inference(
            catalogue=models.catalogue,
            language=models.language,
            classifier=models.classifier,
            embedder=models.embedder,
            tools=tools,
            live=models.live,
            ledger=state.ledger,
        ),
        usage=UsageReports(state.ledger),
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


@asynccontextmanager
async def _tools(
    settings: Settings, calling: McpMetrics | None = None
) -> AsyncIterator[ToolRegistry]:
    """The tools to show; with `calling`, to call."""
    async with AsyncExitStack() as opened:
        try:
            tools = await opened.enter_async_context(
                open_tools(settings, calling=calling is not None, observer=calling)
            )
        except ToolSetupError as error:
            raise ServeError(str(error)) from None
        yield tools


@asynccontextmanager
async def _state(settings: Settings, stopping: asyncio.Event) -> AsyncIterator[State]:
    """The state; a store that is away is waited for, until `stopping` is set."""
    async with AsyncExitStack() as opened:
        waits = full_jitter(base_s=0.2, cap_s=2.0)
        while True:
            try:
                state = await opened.enter_async_context(
                    open_redis_state(
                        settings.redis.address,
                        shards=settings.redis.shards,
                        limits=settings.state_limits,
                    )
                )
            except Unavailable as error:
                log.warning("%s at %s", error.message, settings.redis.place)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), next(waits))
                    raise StoppedError from None
            except FleetError as error:
                raise ServeError(error.message) from None
            else:
                break
        yield state


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


def _loop_settings(
    role: str, settings: Settings, section: Worker | Toolbox, *, history: int = 0
) -> LoopSettings:
    return LoopSettings(
        worker=f"{role}/{socket.gethostname()}/{os.getpid()}",
        slots=section.slots,
        lease_s=section.lease_s,
        grace_s=section.grace_s,
        history=history,
        run_timeout_s=settings.worker.run_timeout_s,
        max_attempts=settings.limits.max_attempts,
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
