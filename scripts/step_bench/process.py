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
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.services import Services
from orchestrator.api.sessions import Sessions
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.reaper import reap_forever
from orchestrator.ports.state import State
from orchestrator.rpc.server import ApiServer, ServerSettings
from orchestrator.settings import embedded_catalogue
from orchestrator.toolbox.call import ToolCallHandler
from orchestrator.worker.step import StepHandler, StepSettings
from scripts.step_bench.scene import SPEC, turn

SLOTS = 64
_KINDS = {"worker": WorkKind.REASON, "toolbox": WorkKind.TOOL}
Scene = Callable[[State, CollectorRegistry], Awaitable[str]]


def _step_handler(state: State, metrics: ExecutionMetrics) -> StepHandler:
    return StepHandler(
        state=state,
        agents=AgentBook(state.agents),
        tools=builtin_tools(records={}),
        classifier=ScriptedClassifier(),
        language=ScriptedLanguageModel(turn),
        catalogue=embedded_catalogue(),
        metrics=metrics,
        settings=StepSettings(),
    )


def _tool_handler(state: State, metrics: ExecutionMetrics) -> ToolCallHandler:
    return ToolCallHandler(state.runs, AgentBook(state.agents), builtin_tools(records={}), metrics)


@asynccontextmanager
async def _working(role: str, state: State) -> AsyncIterator[str]:
    metrics = ExecutionMetrics(CollectorRegistry())
    handler: Handler
    handler = (_step_handler if role == "worker" else _tool_handler)(state, metrics)
    settings = LoopSettings(worker=f"{role}/{os.getpid()}", slots=SLOTS)
    loop = ClaimLoop(_KINDS[role], state.runs, handler, settings, metrics)
    reaping = asyncio.create_task(reap_forever(state.runs, metrics))
    running = asyncio.create_task(loop.run())
    try:
        yield "claiming"
    finally:
        loop.stop()
        reaping.cancel()
        await asyncio.gather(running, reaping, return_exceptions=True)


@asynccontextmanager
async def _serving(state: State) -> AsyncIterator[str]:
    tools = builtin_tools(records={})
    catalogue = embedded_catalogue()
    language, classifier = ScriptedLanguageModel(turn), ScriptedClassifier()
    agents = Agents(state.agents, tools=tools, catalogue=catalogue, builtin={"assistant": SPEC})
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=Runs(state, agents=agents),
        inference=Inference(
            catalogue=catalogue,
            language=language,
            classifier=classifier,
            embedder=ScriptedEmbedder(),
            tools=tools,
        ),
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
