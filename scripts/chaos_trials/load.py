"""Submits runs, repeats what was not acknowledged, and waits for their ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.api.steering import resume
from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import FailedPrecondition, Unavailable
from orchestrator.domain.events import RunEvent
from orchestrator.domain.interrupts import Answer, Answered, Approved
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.runs import BusyPolicy, Run, RunState
from orchestrator.execution.retry import full_jitter
from orchestrator.ports.state import State
from scripts.chaos_trials.orders import TENANTS
from scripts.chaos_trials.outside import Outside
from scripts.chaos_trials.plans import TOOLS, Plan

T = TypeVar("T")

AGENT = "chaos"
_POLL_S = 0.5
_FOLLOWED = 0.25  # of the runs has a watcher in the harness


class Unfinished(Exception):
    """Runs did not end in time."""


@dataclass(slots=True)
class Accepted:
    tenant: str
    run_id: str
    session_id: str
    plan: Plan
    at: float
    ended: Run | None = None


@dataclass(slots=True)
class Load:
    """Runs of many tenants. `accepted` has what was acknowledged, by run id."""

    state: State
    outside: Outside
    rng: random.Random
    follow: bool = True
    accepted: dict[str, Accepted] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)  # calls that a person was asked about
    not_done: Answer = Approved()  # what a person says of a call that is not in the ledger
    seen: dict[str, list[int]] = field(default_factory=dict)
    told_ended: set[str] = field(default_factory=set)
    ends_at: dict[str, set[int]] = field(default_factory=dict)  # last numbers seen elsewhere
    slowest_s: float = 0.0  # try of an operation
    _agents: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _followers: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def open(self) -> list[Accepted]:
        return [run for run in self.accepted.values() if run.ended is None]

    async def submit(
        self,
        tenant: str,
        plan: Plan,
        *,
        session_id: str = "",
        policy: BusyPolicy = BusyPolicy.REJECT,
    ) -> Accepted:
        agent = await self._agent(tenant)
        request_id = f"{plan.tag}#{next(self._numbers)}"
        made = await self._patiently(
            lambda: self.state.runs.register(
                tenant, request_id, fingerprint="", session_id=session_id
            )
        )
        run = Run(
            run_id=made.run_id,
            tenant=tenant,
            session_id=made.session_id,
            agent=agent,
            input=plan.text,
            busy_policy=policy,
        )
        submitted = advance(run, Submitted())
        await self._patiently(lambda: self.state.runs.submit(submitted, session_labels={}))
        return self.accept(Accepted(tenant, run.run_id, run.session_id, plan, time.monotonic()))

    def accept(self, run: Accepted) -> Accepted:
        self.accepted[run.run_id] = run
        if self.follow and self.rng.random() < _FOLLOWED:
            follower = asyncio.create_task(self._follow(run))
            self._followers.add(follower)
            follower.add_done_callback(self._followers.discard)
        return run

    async def keep(self, at_once: int, draw: Callable[[], Plan], until: Callable[[], bool]) -> None:
        """Keeps so many runs open until the condition holds."""
        while not until():
            missing = at_once - len(self.open)
            await asyncio.gather(
                *(self.submit(self.rng.choice(TENANTS), draw()) for _ in range(missing))
            )
            await self.look()
            self.outside.changed.clear()
            try:
                async with asyncio.timeout(0.1):
                    await self.outside.changed.wait()
            except TimeoutError:
                continue

    async def prepare(self) -> None:
        """Stores every tenant's agent, for runs that are started elsewhere."""
        for tenant in TENANTS:
            await self._agent(tenant)

    async def look(self) -> None:
        """Finds out which runs have ended, and answers those that ask a person."""
        waiting = self.open
        for start in range(0, len(waiting), 200):
            batch = waiting[start : start + 200]
            found = await asyncio.gather(
                *(self.state.runs.get(run.tenant, run.run_id) for run in batch),
                return_exceptions=True,
            )
            for run, now in zip(batch, found, strict=True):
                if isinstance(now, Unavailable):
                    continue
                if isinstance(now, BaseException):
                    raise now
                if now.state is RunState.INTERRUPTED:
                    await self._answer(run, now)
                if now.state.terminal:
                    run.ended = now
                    self.outside.forget_orphans_of(run.run_id)

    async def _answer(self, run: Accepted, now: Run) -> None:
        """Says what became of calls that were cut off: who reads the ledger knows."""
        for pending in now.pending:
            if pending.interrupt is None:
                continue
            key = f"{run.run_id}:{now.step}:{pending.call.call_id}"
            written = self.outside.ledger.effects.get(key)
            answer: Answer = Answered(content=written[0].tag) if written else self.not_done
            self.answered.add(key)
            with contextlib.suppress(FailedPrecondition, Unavailable):  # by the next look
                await resume(
                    self.state.runs,
                    run.tenant,
                    run.run_id,
                    pending.interrupt.interrupt_id,
                    answer,
                )

    async def finish(self, limit_s: float) -> None:
        """Waits until every run has ended, and every watcher.

        Raises:
            Unfinished: some did not within the limit.
        """
        until = time.monotonic() + limit_s
        while self.open:
            await self.look()
            if time.monotonic() > until:
                raise Unfinished(self._said(limit_s))
            await asyncio.sleep(_POLL_S / 5 if len(self.open) < 50 else _POLL_S)
        if self._followers:
            left = max(5.0, until - time.monotonic())
            _, late = await asyncio.wait(self._followers, timeout=left)
            if late:
                raise Unfinished(f"{len(late)} watchers of ended runs still wait")

    async def end(self) -> None:
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)

    def _said(self, limit_s: float) -> str:
        some = ", ".join(run.run_id for run in self.open[:3])
        return f"{len(self.open)} runs did not end within {limit_s:.0f} s of the last: {some}"

    async def _follow(self, run: Accepted) -> None:
        seen = self.seen.setdefault(run.run_id, [])
        event: RunEvent
        while True:
            try:
                feed = self.state.feed.follow(
                    run.tenant, run.run_id, after_seq=seen[-1] if seen else 0
                )
                async for event in feed:
                    seen.append(event.seq)
                    if event.terminal:
                        return
            except Unavailable:
                await asyncio.sleep(_POLL_S)

    async def _agent(self, tenant: str) -> str:
        if tenant not in self._agents:
            spec = AgentSpec(tools=tuple(TOOLS))
            made = await self._patiently(lambda: self.state.agents.put(tenant, AGENT, spec))
            self._agents[tenant] = made.reference
        return self._agents[tenant]

    async def _patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeats what was not acknowledged: every write is safe to send again."""
        waits = full_jitter(base_s=0.05, cap_s=0.5)
        while True:
            began = time.monotonic()
            try:
                return await operation()
            except Unavailable:
                await asyncio.sleep(next(waits))
            finally:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
