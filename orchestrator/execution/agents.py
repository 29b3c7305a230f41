"""Agents by reference, remembered: a version never changes."""

from __future__ import annotations

from orchestrator.domain.agents import Agent
from orchestrator.domain.ids import parse_agent
from orchestrator.ports.state import AgentStore

_REMEMBERED = 1024


class AgentBook:
    def __init__(self, store: AgentStore) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Agent] = {}

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
