"""Agents by reference, remembered: a version never changes."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.domain.agents import Agent
from orchestrator.domain.ids import parse_agent
from orchestrator.ports.state import AgentStore

_REMEMBERED = 1024
_NEWEST_S = 5.0


class AgentBook:
    def __init__(self, store: AgentStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[tuple[str, str], Agent] = {}
        self._newest: dict[tuple[str, str], tuple[float, Agent]] = {}

    async def get(self, tenant: str, reference: str) -> Agent:
        """Returns the agent of an exact reference, `name@version`.

        Raises:
            NotFound: there is none.
        """
        known = self._known.get((tenant, reference))
        if known is not None:
            return known
        name, version = parse_agent(reference)
        agent = await self._store.get(tenant, name, version)
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[tenant, reference] = agent
        return agent

    async def resolve(self, tenant: str, reference: str) -> Agent:
        """Returns the agent of `name@version`, or the newest of `name`, up to a few seconds old.

        Raises:
            NotFound: there is none.
        """
        name, version = parse_agent(reference)
        if version is not None:
            return await self.get(tenant, reference)
        until, agent = self._newest.get((tenant, name), (0.0, None))
        if agent is None or until < self._clock():
            agent = await self._store.get(tenant, name, None)
            if len(self._newest) >= _REMEMBERED:
                self._newest.pop(next(iter(self._newest)))
            self._newest[tenant, name] = (self._clock() + _NEWEST_S, agent)
        return agent
