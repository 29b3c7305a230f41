"""A worker and a toolbox over one state, with scripted models."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from orchestrator.adapters.builtin_tools import builtin_tools
from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.scripted_models import (
    CERTAIN,
    ScriptedClassifier,
    ScriptedLanguageModel,
    Turn,
)
from orchestrator.domain.agents import AgentSpec, Budget
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.events import RunEvent
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import Run
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.reaper import reap_forever
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.call import ToolCallHandler
from orchestrator.worker.step import StepHandler, StepSettings

TENANT = "acme"
SMALL = ModelEntry(
    name="small", quality={"simple": 0.9}, input_price=1_000_000, output_price=2_000_000
)
LARGE = ModelEntry(
    name="large",
    quality={"simple": 0.95, "hard": 0.9},
    input_price=10_000_000,
    output_price=20_000_000,
)
CATALOGUE = {entry.name: entry for entry in (SMALL, LARGE)}
CALL = '<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def call(name: str, arguments: str) -> str:
    """A tool call as the model writes it."""
    return CALL.format(name=name, arguments=arguments)


Script = Iterable[Turn] | Callable[[ChatRequest], Turn]


@dataclass
class Fleet:
    state: State
    model: ScriptedLanguageModel
    registry: CollectorRegistry
    loops: list[ClaimLoop]
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    async def start(
        self,
        text: str,
        *,
        spec: AgentSpec | None = None,
        session_id: str = "",
        budget: Budget | None = None,
        timeout_ms: int = 0,
    ) -> Run:
        """Accepts a run; does not wait for it."""
        agent = await self.state.agents.put(TENANT, "assistant", spec or AgentSpec())
        made = await self.state.runs.register(
            TENANT, f"r{next(iter(self._numbers))}", fingerprint="f", session_id=session_id
        )
        run = Run(
            run_id=made.run_id,
            tenant=TENANT,
            session_id=made.session_id,
            agent=agent.reference,
            input=text,
            budget=budget or Budget(),
            timeout_ms=timeout_ms,
        )
        await self.state.runs.submit(advance(run, Submitted()), session_labels={})
        return run

    async def events(self, run: Run) -> list[RunEvent]:
        """Every event of the run, up to its terminal one."""
        feed = self.state.feed.follow(TENANT, run.run_id, after_seq=0)
        return [event async for event in feed]

    async def ended(self, run: Run) -> Run:
        await asyncio.wait_for(self.events(run), 20)
        return await self.state.runs.get(TENANT, run.run_id)


@asynccontextmanager
async def working(
    script: Script,
    *,
    tools: ToolRegistry | None = None,
    classification: Classification | Callable[[str], Classification] = CERTAIN,
    patience_s: float = 20.0,
    lease_s: float = 10.0,
    grace_s: float = 5.0,
) -> AsyncIterator[Fleet]:
    """One worker and one toolbox at work."""
    async with open_memory_state() as state:
        model, registry = ScriptedLanguageModel(script), CollectorRegistry()
        metrics, agents = ExecutionMetrics(registry), AgentBook(state.agents)
        registry_of_tools = tools or builtin_tools()
        step = StepHandler(
            state=state,
            agents=agents,
            tools=registry_of_tools,
            classifier=ScriptedClassifier(classification),
            language=model,
            catalogue=CATALOGUE,
            metrics=metrics,
            settings=StepSettings(patience_s=patience_s, lease_s=lease_s),
        )
        tool = ToolCallHandler(state.runs, agents, registry_of_tools, metrics)
        settings = LoopSettings(worker="w", slots=8, lease_s=lease_s, grace_s=grace_s)
        loops = [
            ClaimLoop(WorkKind.REASON, state.runs, step, settings, metrics),
            ClaimLoop(WorkKind.TOOL, state.runs, tool, settings, metrics),
        ]
        running = [asyncio.create_task(loop.run()) for loop in loops]
        running.append(asyncio.create_task(reap_forever(state.runs, metrics, every_s=0.05)))
        try:
            yield Fleet(state, model, registry, loops)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
