"""The real api over the scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from orchestrator.adapters.authenticators import ApiKeyAuthenticator
from orchestrator.adapters.builtin_tools.registry import BuiltinTools, Tool
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
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.rpc.server import ApiServer, ServerSettings
from scripts.chaos_trials.plans import TOOLS, play

RUN_TIMEOUT_MS = 600_000


async def serve(
    state: State,
    catalogue: Mapping[str, ModelEntry],
    keys: Mapping[str, str],
    *,
    on_port: Callable[[int], None],
) -> None:
    """Serves fleet.v1 on a free port until the process ends."""
    tools = ToolRegistry([BuiltinTools(Tool(spec, _refuse) for spec in TOOLS.values())])
    agents = Agents(state.agents, tools=tools, catalogue=catalogue, builtin={})
    runs = Runs(state, agents=agents, timeout_ms=RUN_TIMEOUT_MS)
    services = Services(
        agents=agents,
        sessions=Sessions(state.sessions, agents=agents),
        runs=runs,
        dead_letters=DeadLetterOffice(state.dead_letters, store=state.runs, runs=runs),
        inference=Inference(
            catalogue=catalogue,
            language=ScriptedLanguageModel(play),
            classifier=ScriptedClassifier(),
            embedder=ScriptedEmbedder(),
            tools=tools,
            ledger=state.ledger,
        ),
        usage=UsageReports(state.ledger),
    )
    server = ApiServer(services, ApiKeyAuthenticator(keys), ServerSettings(), CollectorRegistry())
    await server.start()
    server.set_serving(True)
    on_port(server.port)
    await asyncio.Event().wait()


async def _refuse(_: Mapping[str, object]) -> str:
    raise AssertionError("the api runs no tool")
