"""One process of the service as a trial runs it: its real loops, over a store that tells."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from dataclasses import replace
from typing import cast

import uvloop
from prometheus_client import CollectorRegistry

from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.scripted_models import ScriptedClassifier
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.work import WorkKind
from orchestrator.execution.agents import AgentBook
from orchestrator.execution.loop import ClaimLoop, Handler, LoopSettings
from orchestrator.execution.metrics import ExecutionMetrics
from orchestrator.execution.sweeper import Sweeper
from orchestrator.ports.state import Limits, RunStore, State
from orchestrator.ports.tools import ToolRegistry
from orchestrator.toolbox.call import ToolCallHandler
from orchestrator.toolbox.dispatch import ToolDispatcher
from orchestrator.toolbox.runner import ToolRunner
from orchestrator.toolbox.sub_run import SubRuns
from orchestrator.worker.context import HISTORY_MESSAGES
from orchestrator.worker.step import StepHandler
from scripts.chaos_trials.orders import TENANTS, Orders, Role
from scripts.chaos_trials.points import Ending, LedgerTools, PacedModel, WatchedRuns, begun
from scripts.chaos_trials.reports import Reports
from scripts.chaos_trials.sabotage import Sabotage

CATALOGUE = {
    "scripted": ModelEntry(name="scripted", quality={"simple": 1.0}, context_tokens=1_000_000)
}
KEYS = {hashlib.sha256(tenant.encode()).hexdigest(): tenant for tenant in TENANTS}
"""The api key of a tenant is its name."""


def run(orders: Orders) -> None:
    """Carries out the orders until it is killed."""
    logging.basicConfig(filename=orders.log, format=f"{os.getpid()} %(name)s %(message)s")
    uvloop.run(_main(orders))


async def _main(orders: Orders) -> None:
    reports = Reports(orders.outside)
    reports.tell("hello", role=orders.role.value)
    await reports.open()
    sabotage = Sabotage(orders)
    async with open_redis_state(
        orders.redis, shards=orders.shards, limits=Limits(**orders.limits)
    ) as state:
        if orders.role is Role.API:
            await _serve(state, reports, sabotage)
        else:
            await _work(orders, state, reports, sabotage)


async def _work(orders: Orders, state: State, reports: Reports, sabotage: Sabotage) -> None:
    metrics, ending = ExecutionMetrics(CollectorRegistry()), Ending(orders, reports)
    runs = cast(RunStore, WatchedRuns(state.runs, reports, ending, sabotage))
    tools = ToolRegistry([LedgerTools(reports, ending, sabotage)])
    agents = AgentBook(state.agents)
    kind, handler, history = WorkKind.TOOL, _calls(runs, agents, tools, metrics), 0
    if orders.role is Role.WORKER:
        kind, history = WorkKind.REASON, HISTORY_MESSAGES
        handler = StepHandler(
            runs=runs,
            agents=agents,
            tools=tools,
            classifier=ScriptedClassifier(),
            language=PacedModel(orders.pace_ms, ending),
            catalogue=CATALOGUE,
            metrics=metrics,
        )
    settings = LoopSettings(
        worker=f"{orders.role.value}/{os.getpid()}",
        slots=orders.slots,
        lease_s=orders.lease_s,
        history=history,
        max_attempts=Limits(**orders.limits).max_attempts,
    )
    loop = ClaimLoop(kind, runs, begun(handler, ending), settings, metrics)
    reports.tell("ready")
    await asyncio.gather(loop.run(), Sweeper(runs, metrics).run())


def _calls(
    runs: RunStore, agents: AgentBook, tools: ToolRegistry, metrics: ExecutionMetrics
) -> Handler:
    calls = ToolCallHandler(
        runs=runs, agents=agents, tools=tools, runner=ToolRunner(tools), metrics=metrics
    )
    return ToolDispatcher(
        runs=runs, agents=agents, tools=tools, calls=calls, sub_runs=SubRuns(runs, agents)
    )


async def _serve(state: State, reports: Reports, sabotage: Sabotage) -> None:
    # The workers' zygote must stay free of grpc, whose threads don't survive a fork.
    from scripts.chaos_trials.api import serve  # noqa: PLC0415

    told = replace(state, feed=sabotage.feed(state.feed))
    await serve(told, CATALOGUE, KEYS, on_port=lambda port: reports.tell("ready", port=port))


if __name__ == "__main__":
    run(Orders.from_json(sys.argv[1]))
