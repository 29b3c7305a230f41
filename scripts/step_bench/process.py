"""One process of the measured stack: `python -m scripts.step_bench.process ROLE URL`.

As `fleet serve` runs it, but for the models, which are scripted. Says on its standard
output that it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvloop
from prometheus_client import CollectorRegistry

from orchestrator.adapters.authenticators import OpenAuthenticator
from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.scripted_models import (
    ScriptedClassifier,
    ScriptedEmbedder,
    ScriptedLanguageModel,
)
from orchestrator.api.agents import Agents
from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.services import Services
from orchestrator.api.sessions import Sessions
from orchestrator.api.usage import UsageReports
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.sweeper import Sweeper
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.rpc.server import ApiServer, ServerSettings
from orchestrator.settings import embedded_catalogue
from orchestrator.toolbox.call import ToolCallHandler
from orchestrator.toolbox.dispatch import ToolDispatcher
from orchestrator.toolbox.runner import ToolRunner
from orchestrator.toolbox.sub_run import SubRuns
from orchestrator.worker.context import HISTORY_MESSAGES
from orchestrator.worker.step import StepHandler
from scripts.step_bench.scene import SPEC, turn

SLOTS = 64
_KINDS = {"worker": WorkKind.REASON, "toolbox": WorkKind.TOOL}
Scene = Callable[[State, CollectorRegistry], Awaitable[str]]


def _step_handler(state: State, metrics: ExecutionMetrics) -> Handler:
    return StepHandler(
        runs=state.runs,
        agents=AgentBook(state.agents),
        tools=_tools(),
        classifier=ScriptedClassifier(),
        language=ScriptedLanguageModel(turn),
        catalogue=embedded_catalogue(),
        metrics=metrics,
    )


def _tool_handler(state: State, metrics: ExecutionMetrics) -> Handler:
    agents, tools = AgentBook(state.agents), _tools()
    calls = ToolCallHandler(
        runs=state.runs, agents=agents, tools=tools, runner=ToolRunner(tools), metrics=metrics
    )
    return ToolDispatcher(
        runs=state.runs,
        agents=agents,
        tools=tools,
        calls=calls,
        sub_runs=SubRuns(state.runs, agents),
    )


def _tools() -> ToolRegistry:
    return ToolRegistry([builtin_tools(records={})])


@asynccontextmanager
async def _working(role: str, state: State) -> AsyncIterator[str]:
    metrics = ExecutionMetrics(CollectorRegistry())
    handler = (_step_handler if role == "worker" else _tool_handler)(state, metrics)
    history = HISTORY_MESSAGES if role == "worker" else 0
    settings = LoopSettings(worker=f"{role}/{os.getpid()}", slots=SLOTS, history=history)
    loop = ClaimLoop(_KINDS[role], state.runs, handler, settings, metrics)
    sweeping = asyncio.create_task(Sweeper(state.runs, metrics).run())
    running = asyncio.create_task(loop.run())
    try:
        yield "claiming"
    finally:
        loop.stop()
        sweeping.cancel()
        await asyncio.gather(running, sweeping, return_exceptions=True)


@asynccontextmanager
async def _serving(state: State) -> AsyncIterator[str]:
    tools = _tools()
    catalogue = embedded_catalogue()
    language, classifier = ScriptedLanguageModel(turn), ScriptedClassifier()
    agents = Agents(state.agents, tools=tools, catalogue=catalogue, builtin={"assistant": SPEC})
    runs = Runs(state, agents=agents, timeout_ms=600_000)
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=runs,
        dead_letters=DeadLetterOffice(state.dead_letters, store=state.runs, runs=runs),
        inference=Inference(
            catalogue=catalogue,
            language=language,
            classifier=classifier,
            embedder=ScriptedEmbedder(),
            tools=tools,
            ledger=state.ledger,
        ),
        usage=UsageReports(state.ledger),
    )
    server = ApiServer(services, OpenAuthenticator(), ServerSettings(), CollectorRegistry())
    await server.start()
    server.set_serving(True)
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop(1.0)


async def _play(role: str, url: str) -> None:
    async with open_redis_state(url) as state:
        scene = _serving(state) if role == "api" else _working(role, state)
        async with scene as said:
            print(said, flush=True)
            await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    role, url = sys.argv[1:3]
    profile = cProfile.Profile() if os.environ.get("STEP_BENCH_PROFILE") == role else None
    if profile:
        profile.enable()
    uvloop.run(_play(role, url))
    if profile:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
