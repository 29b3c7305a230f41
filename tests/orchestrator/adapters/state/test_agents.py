from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.agents import AgentSpec
from orchestrator.domain.errors import InvalidInput, NotFound
from orchestrator.ports.state import State


def spec(text: str) -> AgentSpec:
    return AgentSpec(system_prompt=text, tools=("calculator",))


async def test_a_changed_spec_is_a_new_version_and_old_ones_stay(state: State) -> None:
    first = await state.agents.put("acme", "helper", spec("one"))
    second = await state.agents.put("acme", "helper", spec("two"))
    assert (first.version, second.version) == (1, 2)
    assert (await state.agents.get("acme", "helper", 1)).spec == spec("one")
    assert await state.agents.get("acme", "helper", None) == second


async def test_the_same_spec_again_is_the_same_version(state: State) -> None:
    first = await state.agents.put("acme", "helper", spec("one"))
    assert await state.agents.put("acme", "helper", spec("one")) == first


async def test_a_newer_builtin_spec_takes_the_place_of_a_builtin_one_only(state: State) -> None:
    first = await state.agents.put("acme", "helper", spec("one"), builtin=True)
    second = await state.agents.put("acme", "helper", spec("two"), builtin=True)
    assert [(a.version, a.builtin) for a in (first, second)] == [(1, True), (2, True)]
    own = await state.agents.put("acme", "helper", spec("own"))
    assert (own.version, own.builtin) == (3, False)
    assert await state.agents.put("acme", "helper", spec("three"), builtin=True) == own
    assert await state.agents.get("acme", "helper", None) == own
    assert await state.agents.get("acme", "helper", 2) == second


async def test_putting_at_once_neither_loses_nor_doubles_a_version(state: State) -> None:
    made = await asyncio.gather(
        *(state.agents.put("acme", "helper", spec(str(i))) for i in range(20))
    )
    assert sorted(agent.version for agent in made) == list(range(1, 21))
    for agent in made:
        assert await state.agents.get("acme", "helper", agent.version) == agent


@pytest.mark.parametrize("version", [None, 2, 0])
async def test_an_unknown_agent_or_version_is_not_found(state: State, version: int | None) -> None:
    if version is not None:
        await state.agents.put("acme", "helper", spec("one"))
    with pytest.raises(NotFound, match="helper"):
        await state.agents.get("acme", "helper", version)


async def test_another_tenants_agent_is_not_found(state: State) -> None:
    await state.agents.put("acme", "helper", spec("one"))
    with pytest.raises(NotFound):
        await state.agents.get("other", "helper", None)
    assert (await state.agents.list("other", limit=9, token="")).items == ()


async def test_agents_are_listed_by_name_in_pages_with_their_newest_version(
    state: State,
) -> None:
    for name in ("b", "a", "c"):
        await state.agents.put("acme", name, spec("one"))
    await state.agents.put("acme", "a", spec("two"))
    first = await state.agents.list("acme", limit=2, token="")
    rest = await state.agents.list("acme", limit=2, token=first.next_token)
    assert [a.reference for a in first.items] == ["a@2", "b@1"]
    assert [a.reference for a in rest.items] == ["c@1"]
    assert rest.next_token == ""


async def test_a_page_token_of_another_tenant_or_none_of_ours_is_refused(state: State) -> None:
    for name in ("b", "a"):
        await state.agents.put("acme", name, spec("one"))
    token = (await state.agents.list("acme", limit=1, token="")).next_token
    for tenant, wrong in (("other", token), ("acme", "nonsense"), ("acme", "é")):
        with pytest.raises(InvalidInput, match="page_token"):
            await state.agents.list(tenant, limit=1, token=wrong)
