"""The agent store in memory."""

from __future__ import annotations

from orchestrator.adapters.memory_state.database import Database
from orchestrator.domain import pages
from orchestrator.domain.agents import Agent, AgentSpec
from orchestrator.domain.errors import NotFound
from orchestrator.ports.state import AgentStore, Page


class MemoryAgentStore(AgentStore):
    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(self, tenant: str, name: str, spec: AgentSpec, *, builtin: bool = False) -> Agent:
        versions = self._db.agents.setdefault((tenant, name), [])
        newest = versions[-1] if versions else None
        stays = newest is not None and (newest.spec == spec or (builtin and not newest.builtin))
        if not stays:
            versions.append(
                Agent(
                    name=name,
                    version=len(versions) + 1,
                    spec=spec,
                    created_ms=self._db.now_ms(),
                    builtin=builtin,
                )
            )
        return versions[-1]

    async def get(self, tenant: str, name: str, version: int | None) -> Agent:
        versions = self._db.agents.get((tenant, name), [])
        number = len(versions) if version is None else version
        if not 1 <= number <= len(versions):
            at = "" if version is None else f"@{version}"
            raise NotFound(f"there is no agent {name}{at}")
        return versions[number - 1]

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Agent]:
        after = pages.decode("agents", tenant, token)
        names = sorted(n for t, n in self._db.agents if t == tenant and n > after)
        last = names[limit - 1] if len(names) > limit else ""
        newest = tuple(self._db.agents[tenant, n][-1] for n in names[:limit])
        return Page(newest, pages.encode("agents", tenant, last))
