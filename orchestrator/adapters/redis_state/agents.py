"""The agent store in Redis: a list of versions for each agent, a sorted set of their names."""

from __future__ import annotations

import json

from orchestrator.adapters.redis_state import keys
from orchestrator.adapters.redis_state.codec import check_tenant
from orchestrator.adapters.redis_state.database import Database
from orchestrator.domain import ids, pages
from orchestrator.domain.agents import Agent, AgentSpec
from orchestrator.domain.errors import NotFound
from orchestrator.ports.state import AgentStore, Page

_BUILTIN = "*"


class RedisAgentStore(AgentStore):
    """All agents of a tenant are in one shard, for their listing."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def _shard(self, tenant: str) -> int:
        return ids.shard_of(check_tenant(tenant), "agents", self._db.shards)

    async def put(self, tenant: str, name: str, spec: AgentSpec, *, builtin: bool = False) -> Agent:
        shard = self._shard(tenant)
        body = json.dumps([tenant, name, spec.model_dump(mode="json")], sort_keys=True)
        number, stored = await self._db.call(
            "put_agent",
            [keys.agent(shard, tenant, name), keys.agents(shard, tenant)],
            [name, body, _BUILTIN if builtin else ""],
        )
        return _agent(tenant, name, int(number), stored)

    async def get(self, tenant: str, name: str, version: int | None) -> Agent:
        key = keys.agent(self._shard(tenant), tenant, name)
        at = f"{name}@{version}" if version is not None else name
        if version is not None and version < 1:
            raise NotFound(f"there is no agent {at}")
        if version is None:
            count, stored = await self._db.ask([("LLEN", key), ("LINDEX", key, -1)])
        else:
            (stored,) = await self._db.ask([("LINDEX", key, version - 1)])
            count = version
        if stored is None:
            raise NotFound(f"there is no agent {at}")
        return _agent(tenant, name, count, stored)

    async def list(self, tenant: str, *, limit: int, token: str) -> Page[Agent]:
        shard = self._shard(tenant)
        after = pages.decode("agents", tenant, token)
        first = f"({after}" if after else "-"
        part = ("BYLEX", "LIMIT", 0, limit + 1)
        (names,) = await self._db.ask([("ZRANGE", keys.agents(shard, tenant), first, "+", *part)])
        shown = names[:limit]
        found = [keys.agent(shard, tenant, name) for name in shown]
        replies = await self._db.ask(
            [command for key in found for command in (("LLEN", key), ("LINDEX", key, -1))]
        )
        agents = tuple(
            _agent(tenant, name, replies[2 * i], replies[2 * i + 1]) for i, name in enumerate(shown)
        )
        last = shown[-1] if len(names) > limit else ""
        return Page(agents, pages.encode("agents", tenant, last))


def _agent(tenant: str, name: str, version: int, stored: str) -> Agent:
    created, _, body = stored.partition(" ")
    builtin = created.endswith(_BUILTIN)
    owner, named, spec = json.loads(body)
    if (owner, named) != (tenant, name):
        raise NotFound(f"there is no agent {name}")
    return Agent(
        name=name,
        version=version,
        spec=AgentSpec.model_validate(spec),
        created_ms=int(created.removesuffix(_BUILTIN)),
        builtin=builtin,
    )
