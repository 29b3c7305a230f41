"""The real store, tools and model, wrapped: a process ends where its orders say, and tells."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.chat import ChatChunk, ChatFinished, ChatRequest, TextChunk
from orchestrator.domain.errors import FleetError
from orchestrator.domain.events import Finished, ToolCallFinished
from orchestrator.domain.machine import Transition
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.tools import Effect, Outcome, ToolResult, ToolSpec
from orchestrator.domain.work import Claim, WorkKind
from orchestrator.execution.loop import Handler
from orchestrator.ports.models import LanguageModel
from orchestrator.ports.state import RunStore
from orchestrator.ports.tools import ToolSource
from scripts.chaos_trials.orders import Action, Orders, Point
from scripts.chaos_trials.plans import TOOLS, play
from scripts.chaos_trials.reports import Reports
from scripts.chaos_trials.sabotage import Sabotage


class Ending:
    """Ends the process, or stops it, at its point."""

    def __init__(self, orders: Orders, reports: Reports) -> None:
        self._orders = orders
        self._reports = reports
        self._passed = 0

    def at(self, point: Point, *items: str) -> None:
        if point is not self._orders.point:
            return
        self._passed += 1
        if self._passed != self._orders.nth:
            return
        self._reports.tell("ending", point=point.value, items=items, at=time.monotonic())
        kill = self._orders.action is Action.KILL
        os.kill(os.getpid(), signal.SIGKILL if kill else signal.SIGSTOP)


class WatchedRuns:
    """A run store that says what it does. What is not here is the real store's.

    It follows the port by delegation: what the loops pass on is none of its business.
    """

    def __init__(self, runs: RunStore, reports: Reports, ending: Ending, sabotage: Sabotage):
        self._runs = runs
        self._reports = reports
        self._ending = ending
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runs, name)

    async def claim(self, kind: WorkKind, **how: Any) -> tuple[Claim, ...]:
        self._ending.at(Point.BEFORE_CLAIM)
        claims: tuple[Claim, ...] = await self._timed("claim", self._runs.claim(kind, **how))
        if claims:
            items = [(c.lease.item.key, c.lease.attempt) for c in claims]
            self._reports.tell("claim", items=items, at=time.monotonic())
            self._ending.at(Point.CLAIM_REPLIED)
        return claims

    async def commit(self, claim: Claim, transition: Transition, **how: Any) -> None:
        item, attempt = claim.lease.item.key, claim.lease.attempt
        self._ending.at(Point.BEFORE_COMMIT, item)
        outcome = "cancelled"  # unless it returns or is refused
        try:
            if not self._sabotage.loses_commit():
                await self._sabotage.before_commit(claim)
                await self._timed("commit", self._runs.commit(claim, transition, **how))
                await self._sabotage.after_commit(claim, transition)
            outcome = "done" if _ends(transition) else "asked"
        except FleetError as error:
            outcome = error.reason
            raise
        finally:
            self._reports.tell(
                "commit",
                item=item,
                attempt=attempt,
                outcome=outcome,
                tokens=transition.charge,
                at=time.monotonic(),
            )
        self._ending.at(Point.AFTER_COMMIT, item)

    async def _timed(self, name: str, operation: Any) -> Any:
        began = time.monotonic()
        try:
            return await operation
        finally:
            took = time.monotonic() - began
            if took > 1.0:
                self._reports.tell("slow", operation=name, seconds=took)


def _ends(transition: Transition) -> bool:
    """Whether it is the item's result, and not a question to a person."""
    last = (ToolCallFinished, Finished)
    return transition.record is not None or any(isinstance(e, last) for e in transition.events)


def begun(handler: Handler, ending: Ending) -> Handler:
    """The handler of a claim loop with a point before it."""

    async def handle(claim: Claim) -> None:
        ending.at(Point.CLAIMED, claim.lease.item.key)
        await handler(claim)

    return handle


class LedgerTools(ToolSource):
    """One tool of each effect; all but the pure one write to the ledger."""

    def __init__(self, reports: Reports, ending: Ending, sabotage: Sabotage) -> None:
        self._reports = reports
        self._ending = ending
        self._sabotage = sabotage

    def specs(self) -> Mapping[str, ToolSpec]:
        return TOOLS

    async def call(self, call: ToolCall, *, key: str, timeout_s: float) -> ToolResult:  # noqa: ARG002
        given = json.loads(call.arguments_json)
        await asyncio.sleep(given["sleep_ms"] / 1000)
        self._ending.at(Point.BEFORE_EFFECT, key)
        if call.name != Effect.PURE:
            for written in self._sabotage.keys_for(key, once=call.name == Effect.AT_MOST_ONCE):
                await self._reports.effect(key=written, tag=given["tag"], kind=call.name)
        self._ending.at(Point.AFTER_EFFECT, key)
        return ToolResult(Outcome.OK, given["tag"])


class PacedModel(LanguageModel):
    """The scripted model, which takes its time."""

    def __init__(self, pace_ms: float, ending: Ending) -> None:
        self._model = ScriptedLanguageModel(play)
        self._pace_s = pace_ms / 1000
        self._ending = ending

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        self._ending.at(Point.BEFORE_EFFECT)
        await asyncio.sleep(self._pace_s)
        async with aclosing(self._model.chat(request)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, ChatFinished):
                    self._ending.at(Point.AFTER_EFFECT)
                yield chunk
                if isinstance(chunk, TextChunk):
                    await asyncio.sleep(0)
                    self._ending.at(Point.MID_TEXT)
        self._model.requests.clear()

    async def ready(self, model: str) -> bool:
        return await self._model.ready(model)
