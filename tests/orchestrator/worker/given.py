"""A worker and a toolbox over one state, with scripted models."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

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
from orchestrator.domain.catalogue import Catalogue, ModelEntry, dearest_call_micros
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.events import RunEvent
from orchestrator.domain.interrupts import Answer
from orchestrator.domain.machine import Resumed, Submitted, advance
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import Run
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.retry import Backoff
from orchestrator.execution.sweeper import Sweeper
from orchestrator.model_calls.router import NOTHING_KNOWN, LiveModels
from orchestrator.ports.models import LanguageModel
from orchestrator.ports.state import State
from orchestrator.ports.tools import ToolRegistry, ToolSource
from orchestrator.toolbox.call import CallSettings, ToolCallHandler
from orchestrator.toolbox.dispatch import ToolDispatcher
from orchestrator.toolbox.runner import ToolRunner
from orchestrator.toolbox.sub_run import SubRuns
from orchestrator.worker.context import HISTORY_MESSAGES
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


P = TypeVar("P")
Script = Iterable[Turn] | Callable[[ChatRequest], Turn]


@dataclass
class Fleet:
    state: State
    language: LanguageModel
    registry: CollectorRegistry
    loops: list[ClaimLoop]
    running: list[asyncio.Task[None]] = field(default_factory=list)
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    @property
    def model(self) -> ScriptedLanguageModel:
        assert isinstance(self.language, ScriptedLanguageModel)
        return self.language

    async def start(
        self,
        text: str,
        *,
        spec: AgentSpec | None = None,
        session_id: str = "",
        budget: Budget | None = None,
        timeout_ms: int = 0,
        agent: str = "assistant",
    ) -> Run:
        """Accepts a run; does not wait for it."""
        stored = await self.state.agents.put(TENANT, agent, spec or AgentSpec())
        made = await self.state.runs.register(
            TENANT, f"r{next(iter(self._numbers))}", fingerprint="f", session_id=session_id
        )
        run = Run(
            run_id=made.run_id,
            tenant=TENANT,
            session_id=made.session_id,
            agent=stored.reference,
            input=text,
            budget=budget or Budget(),
            timeout_ms=timeout_ms,
            output_schema_json=stored.spec.output_schema_json,
        )
        await self.state.runs.submit(advance(run, Submitted()), session_labels={})
        return run

    async def agent(self, name: str, spec: AgentSpec) -> None:
        await self.state.agents.put(TENANT, name, spec)

    async def events(self, run: Run) -> list[RunEvent]:
        """Every event of the run, up to its terminal one."""
        feed = self.state.feed.follow(TENANT, run.run_id, after_seq=0)
        return [event async for event in feed]

    async def ended(self, run: Run) -> Run:
        await asyncio.wait_for(self.events(run), 20)
        return await self.now(run)

    async def now(self, run: Run) -> Run:
        return await self.state.runs.get(TENANT, run.run_id)

    async def seen(self, run: Run, kind: type[P]) -> P:
        """The run's first event of that kind, as soon as there is one."""
        async with asyncio.timeout(20):
            async for event in self.state.feed.follow(TENANT, run.run_id, after_seq=0):
                if isinstance(event.payload, kind):
                    return event.payload
        raise AssertionError(f"the run ended without {kind.__name__}")

    async def stopped(self) -> None:
        """Returns when the loops have ended by themselves."""
        await asyncio.wait_for(asyncio.gather(*self.running), 20)

    async def until(self, reached: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await reached():  # noqa: ASYNC110 - the state has no event for it
                await asyncio.sleep(0.01)

    async def answer(self, run: Run, interrupt_id: str, answer: Answer) -> None:
        """As ResumeRun does."""
        read = await self.state.runs.read(TENANT, run.run_id)
        moved = advance(read.run, Resumed(interrupt_id, answer))
        await self.state.runs.change(moved, version=read.version)

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@dataclass(frozen=True)
class Times:
    """Waits of the parts, short where a test has to see their end."""

    patience_s: float = 20.0
    lease_s: float = 10.0
    grace_s: float = 5.0
    stubborn_s: float = 2.0
    interrupt_s: float = 60.0


@asynccontextmanager
async def working(
    script: Script | LanguageModel,
    *,
    catalogue: Catalogue = CATALOGUE,
    tools: Sequence[ToolSource] = (),
    seen_by_worker: Sequence[ToolSource] | None = None,
    classification: Classification | Callable[[str], Classification] = CERTAIN,
    times: Times = Times(),
    state: State | None = None,
    live: LiveModels = NOTHING_KNOWN,
) -> AsyncIterator[Fleet]:
    """One worker and one toolbox at work."""
    async with AsyncExitStack() as opened:
        if state is None:
            state = await opened.enter_async_context(open_memory_state())
        here = ToolRegistry([builtin_tools(), *tools])
        seen = here if seen_by_worker is None else ToolRegistry(seen_by_worker)
        fleet = _fleet(
            state,
            _model(script),
            here,
            seen,
            catalogue=catalogue,
            classification=classification,
            times=times,
            live=live,
        )
        sweeper = Sweeper(state.runs, ExecutionMetrics(CollectorRegistry()), every_s=0.02)
        fleet.running = [asyncio.create_task(loop.run()) for loop in fleet.loops]
        running = [*fleet.running, asyncio.create_task(sweeper.run())]
        try:
            yield fleet
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def _model(script: Script | LanguageModel) -> LanguageModel:
    return script if isinstance(script, LanguageModel) else ScriptedLanguageModel(script)


def _fleet(
    state: State,
    model: LanguageModel,
    tools: ToolRegistry,
    seen: ToolRegistry,
    *,
    catalogue: Catalogue,
    classification: Classification | Callable[[str], Classification],
    times: Times,
    live: LiveModels,
) -> Fleet:
    registry, agents = CollectorRegistry(), AgentBook(state.agents)
    metrics = ExecutionMetrics(registry)
    ttl_ms = int(times.interrupt_s * 1000)
    step = StepHandler(
        runs=state.runs,
        agents=agents,
        tools=seen,
        classifier=ScriptedClassifier(classification),
        language=model,
        catalogue=catalogue,
        live=live,
        metrics=metrics,
        settings=StepSettings(patience_s=times.patience_s, interrupt_ttl_ms=ttl_ms),
    )
    calls = ToolCallHandler(
        runs=state.runs,
        agents=agents,
        tools=tools,
        runner=ToolRunner(tools),
        metrics=metrics,
        settings=CallSettings(interrupt_ttl_ms=ttl_ms),
    )
    dispatcher = ToolDispatcher(
        runs=state.runs,
        agents=agents,
        tools=tools,
        calls=calls,
        sub_runs=SubRuns(state.runs, agents),
    )
    settings = LoopSettings(
        worker="w",
        slots=8,
        lease_s=times.lease_s,
        grace_s=times.grace_s,
        stubborn_s=times.stubborn_s,
        history=HISTORY_MESSAGES,
        backoff=Backoff(base_s=0.02, cap_s=0.05),
    )
    loops = [
        ClaimLoop(
            WorkKind.REASON,
            state.runs,
            step,
            settings,
            metrics,
            reserve_micros=lambda: dearest_call_micros(catalogue),
        ),
        ClaimLoop(WorkKind.TOOL, state.runs, dispatcher, settings, metrics),
    ]
    return Fleet(state, model, registry, loops)
