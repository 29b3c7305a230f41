"""Runs: accepting them, listing them, watching them, steering them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from orchestrator.api import limits, steering
from orchestrator.api.agents import Agents, check_budget
from orchestrator.api.output_schemas import check_output_schema
from orchestrator.api.pages import within_a_message
from orchestrator.api.sessions import check_run_id, check_session_id
from orchestrator.api.watching import Watched, watch
from orchestrator.domain.agents import Agent, AgentSpec, Budget
from orchestrator.domain.errors import AlreadyExists
from orchestrator.domain.interrupts import Answer
from orchestrator.domain.machine import Submitted, advance
from orchestrator.domain.runs import BusyPolicy, Run, StepRecord
from orchestrator.ports.state import Page, Registration, State

DEFAULT_AGENT = "assistant"


@dataclass(frozen=True, slots=True)
class StartRun:
    """What a caller asks for. Zero, or empty, is the agent's or the service's default."""

    request_id: str
    session_id: str
    agent: str
    input: str
    busy_policy: BusyPolicy = BusyPolicy.REJECT
    budget: Budget = Budget()
    timeout_ms: int = 0
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    output_schema_json: str = ""

    @property
    def fingerprint(self) -> str:
        """Identifies the body: equal for equal requests, whatever their request ids."""
        body = {name: getattr(self, name) for name in self.__slots__}
        body |= {"budget": self.budget.model_dump(), "labels": dict(self.labels), "request_id": ""}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Started:
    run: Run
    deduplicated: bool


@dataclass(frozen=True, slots=True)
class RunDetails:
    run: Run
    steps: tuple[StepRecord, ...]


class Runs:
    """`timeout_ms` is that of a run when neither its caller nor its agent names one."""

    def __init__(self, state: State, *, agents: Agents, timeout_ms: int) -> None:
        self._state = state
        self._agents = agents
        self._timeout_ms = timeout_ms

    async def start(self, tenant: str, request: StartRun) -> Started:
        """Accepts a run once per request id.

        Raises:
            AlreadyExists: REQUEST_ID_REUSED, the request id stands for another body.
            FailedPrecondition: SESSION_BUSY.
            Exhausted: QUEUE_FULL.
        """
        _check(request)
        if request.output_schema_json:
            await asyncio.to_thread(
                check_output_schema, request.output_schema_json, "output_schema_json"
            )
        return await self.accept(tenant, request)

    async def accept(self, tenant: str, request: StartRun) -> Started:
        """`start` for a request that is known to be within the limits."""
        agent = await self._agent(tenant, request)
        fingerprint = request.fingerprint
        registration = await self._state.runs.register(
            tenant,
            request.request_id,
            fingerprint=fingerprint,
            session_id=request.session_id,
        )
        if registration.fingerprint != fingerprint:
            raise AlreadyExists(
                f"request_id {request.request_id!r} was used for another request; "
                "send the same body again, or this one under a new request_id",
                reason="REQUEST_ID_REUSED",
                metadata={"run_id": registration.run_id},
            )
        # A caller that went away between the two steps finds its id registered, its run not
        # accepted: submitting again is safe and says which it was.
        run = self._new_run(tenant, request, agent, registration)
        accepted = await self._state.runs.submit(
            advance(run, Submitted()), session_labels=request.labels
        )
        stored = await self._state.runs.get(tenant, registration.run_id)
        return Started(stored, deduplicated=not accepted)

    async def ask(self, tenant: str, request: StartRun) -> AsyncGenerator[Watched]:
        """Starts a run, or finds it started, and watches it from its beginning."""
        started = await self.start(tenant, request)
        async with aclosing(self.watch(tenant, started.run.run_id, after_seq=0)) as watched:
            async for item in watched:
                yield item

    def watch(self, tenant: str, run_id: str, *, after_seq: int) -> AsyncGenerator[Watched]:
        check_run_id(run_id)
        return watch(self._state.runs, self._state.feed, tenant, run_id, after_seq=after_seq)

    async def get(self, tenant: str, run_id: str) -> RunDetails:
        check_run_id(run_id)
        run = await self._state.runs.get(tenant, run_id)
        return RunDetails(run, await self._state.runs.steps(tenant, run_id))

    async def list(
        self, tenant: str, *, session_id: str, page_size: int, page_token: str
    ) -> Page[Run]:
        limit = limits.page(page_size, page_token)
        if session_id:
            check_session_id(session_id)
            await self._state.sessions.get(tenant, session_id)
        runs = self._state.runs
        return await within_a_message(
            lambda n: runs.list(tenant, session_id=session_id, limit=n, token=page_token), limit
        )

    async def cancel(self, tenant: str, run_id: str) -> Run:
        check_run_id(run_id)
        return await steering.cancel(self._state.runs, tenant, run_id)

    async def resume(self, tenant: str, run_id: str, interrupt_id: str, answer: Answer) -> Run:
        check_run_id(run_id)
        return await steering.resume(self._state.runs, tenant, run_id, interrupt_id, answer)

    async def _agent(self, tenant: str, request: StartRun) -> Agent:
        reference = request.agent
        if request.session_id:
            session = await self._state.sessions.get(tenant, request.session_id)
            reference = reference or session.agent
        return await self._agents.get(tenant, reference or DEFAULT_AGENT, field="agent")

    def _new_run(
        self, tenant: str, request: StartRun, agent: Agent, registration: Registration
    ) -> Run:
        return Run(
            run_id=registration.run_id,
            tenant=tenant,
            session_id=registration.session_id,
            agent=agent.reference,
            input=request.input,
            busy_policy=request.busy_policy,
            budget=_budget(request.budget, agent.spec),
            timeout_ms=request.timeout_ms or agent.spec.timeout_ms or self._timeout_ms,
            priority=request.priority,
            labels=request.labels,
            output_schema_json=request.output_schema_json or agent.spec.output_schema_json,
        )


def _check(request: StartRun) -> None:
    limits.request_id(request.request_id)
    if request.session_id:
        check_session_id(request.session_id)
    limits.text(request.agent, "agent", max_bytes=limits.NAME_BYTES)
    limits.text(request.input, "input", max_bytes=limits.INPUT_BYTES, required=True)
    check_budget(request.budget, "budget")
    limits.timeout(request.timeout_ms)
    limits.number(request.priority, "priority", at_most=limits.PRIORITY)
    limits.labels(request.labels)


def _budget(asked: Budget, spec: AgentSpec) -> Budget:
    """The caller's limits, and the agent's where the caller states none."""
    return Budget(
        max_steps=asked.max_steps or spec.budget.max_steps,
        max_tokens=asked.max_tokens or spec.budget.max_tokens,
        max_cost_micros=asked.max_cost_micros or spec.budget.max_cost_micros,
    )
