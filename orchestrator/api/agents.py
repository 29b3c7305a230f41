"""Agents: stored as immutable versions, named by callers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from orchestrator.api import limits
from orchestrator.api.abilities import check_abilities
from orchestrator.api.output_schemas import check_output_schema
from orchestrator.api.pages import within_a_message
from orchestrator.domain.agents import Agent, AgentSpec, Budget, ModelPolicy, Sampling
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import InvalidInput, NotFound
from orchestrator.domain.ids import parse_agent
from orchestrator.ports.state import AgentStore, Page
from orchestrator.ports.tools import ToolRegistry

_REMEMBERED = 10_000


class Agents:
    """`builtin` agents exist for every tenant until it stores its own under the same name.

    A new release may bring another version of one; sessions stay with the version they have.
    """

    def __init__(
        self,
        store: AgentStore,
        *,
        tools: ToolRegistry,
        catalogue: Catalogue,
        builtin: Mapping[str, AgentSpec] | None = None,
    ) -> None:
        self._store = store
        self._tools = tools
        self._catalogue = catalogue
        self._builtin = dict(builtin or {})
        self._refreshed: set[tuple[str, str]] = set()

    async def put(self, tenant: str, name: str, spec: AgentSpec) -> Agent:
        limits.text(name, "name", max_bytes=limits.NAME_BYTES, required=True)
        if parse_agent(name, field="name")[1] is not None:
            raise InvalidInput(
                f"name {name!r} has a version: versions are given by the service", field="name"
            )
        self._check(spec)
        # Off the loop: a second's work for the largest schemas.
        await asyncio.to_thread(check_abilities, spec, known=self._tools.specs())
        if spec.output_schema_json:
            await asyncio.to_thread(
                check_output_schema, spec.output_schema_json, "spec.output_schema_json"
            )
        for field, references in (("agents", spec.agents), ("handovers", spec.handovers)):
            for i, reference in enumerate(references):
                await self._check_exists(tenant, reference, f"spec.{field}[{i}]", but=name)
        return await self._store.put(tenant, name, spec)

    async def get(self, tenant: str, reference: str, *, field: str = "name") -> Agent:
        """Returns `name@version`, or the newest version of a bare name."""
        limits.text(reference, field, max_bytes=limits.NAME_BYTES, required=True)
        name, version = parse_agent(reference, field=field)
        if version is None and name in self._builtin:
            return await self._builtin_or_own(tenant, name)
        return await self._store.get(tenant, name, version)

    async def list(self, tenant: str, *, page_size: int, page_token: str) -> Page[Agent]:
        limit = limits.page(page_size, page_token)
        if not page_token:
            for name in self._builtin:
                await self.get(tenant, name)  # stores it, so that it is listed
        return await within_a_message(
            lambda n: self._store.list(tenant, limit=n, token=page_token), limit
        )

    async def _builtin_or_own(self, tenant: str, name: str) -> Agent:
        """Once for each tenant the built-in agent is stored anew: it may have become another."""
        if (tenant, name) not in self._refreshed:
            agent = await self._store.put(tenant, name, self._builtin[name], builtin=True)
            if len(self._refreshed) >= _REMEMBERED:
                self._refreshed.clear()
            self._refreshed.add((tenant, name))
            return agent
        return await self._store.get(tenant, name, None)

    def _check(self, spec: AgentSpec) -> None:
        limits.text(spec.description, "spec.description", max_bytes=limits.DESCRIPTION_BYTES)
        limits.text(spec.system_prompt, "spec.system_prompt", max_bytes=limits.SYSTEM_PROMPT_BYTES)
        check_policy(spec.policy, "spec.policy", self._catalogue)
        check_sampling(spec.sampling, "spec.sampling")
        check_budget(spec.budget, "spec.budget")
        limits.timeout(spec.timeout_ms, "spec.timeout")
        limits.timeout(
            spec.interrupt_timeout_ms,
            "spec.interrupt_timeout",
            at_most_ms=limits.INTERRUPT_TIMEOUT_MS,
        )

    async def _check_exists(self, tenant: str, reference: str, field: str, *, but: str) -> None:
        """Raises InvalidInput UNKNOWN_AGENT; `but` is about to exist."""
        name, version = parse_agent(reference, field=field)
        if version is None and (name in self._builtin or name == but):
            return
        try:
            await self._store.get(tenant, name, version)
        except NotFound as missing:
            raise InvalidInput(
                f"{field} {reference!r} is no agent of yours: store that agent first",
                field=field,
                reason="UNKNOWN_AGENT",
            ) from missing


def check_policy(policy: ModelPolicy, field: str, catalogue: Catalogue) -> None:
    limits.names(policy.models, f"{field}.models", known=catalogue, what="model")


def check_sampling(sampling: Sampling, field: str) -> None:
    if not math.isfinite(sampling.temperature):
        raise InvalidInput(
            f"{field}.temperature is {sampling.temperature}: it has to be from 0 to 2",
            field=f"{field}.temperature",
            reason="OUT_OF_BOUNDS",
        )
    limits.number(sampling.max_tokens, f"{field}.max_tokens", at_most=limits.NEW_TOKENS)
    limits.number(sampling.seed or 0, f"{field}.seed", at_most=limits.SEED)
    limits.count(sampling.stop, f"{field}.stop", at_most=limits.STOPS)
    for i, stop in enumerate(sampling.stop):
        name = f"{field}.stop[{i}]"
        limits.text(stop, name, max_bytes=limits.STOP_BYTES)
        if not stop:
            raise InvalidInput(f"{name} is empty: it would stop at once", field=name)


def check_budget(budget: Budget, field: str) -> None:
    for name in ("max_steps", "max_tokens", "max_cost_micros"):
        limits.number(getattr(budget, name), f"{field}.{name}", at_most=limits.COUNT)
