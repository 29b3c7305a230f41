from __future__ import annotations

import asyncio

from orchestrator.adapters.memory_answers import MemoryAnswers
from orchestrator.adapters.scripted_models import ScriptedLanguageModel
from orchestrator.domain.agents import AgentSpec, Sampling
from orchestrator.domain.events import AnswerCached, CacheHit
from orchestrator.domain.runs import CallOutcome, Run
from tests.orchestrator.model_calls.given_cache import caching, until
from tests.orchestrator.worker.given import SMALL, TENANT, Fleet, call, working


async def calls(fleet: Fleet, run: Run) -> list[tuple[CallOutcome, int]]:
    steps = await fleet.state.runs.steps(TENANT, run.run_id)
    return [(c.outcome, c.usage.cost_micros) for step in steps for c in step.calls]


async def test_the_second_run_of_the_same_question_costs_nothing_and_says_why() -> None:
    model = ScriptedLanguageModel([["It is 42."]])
    async with caching(model, entry=SMALL) as cached, working(cached) as fleet:
        first = await fleet.ended(await fleet.start("six times seven?"))
        again = await fleet.ended(await fleet.start("six times seven?"))
        said = [event.payload for event in await fleet.events(again)]
        assert (await calls(fleet, first))[0][0] is CallOutcome.USED
        assert await calls(fleet, again) == [(CallOutcome.CACHED, 0)]
        assert fleet.figure("fleet_tokens_total", model="small", kind="completion") == 3
    assert again.result == first.result == "It is 42."
    assert first.usage.cost_micros > 0
    assert again.usage.cost_micros == 0
    assert again.usage.tokens == first.usage.tokens
    assert AnswerCached(model="small", hit=CacheHit.EXACT) in said
    assert len(model.requests) == 1


async def test_a_tool_that_a_cached_answer_calls_is_run_all_the_same() -> None:
    turns = [[call("calculator", '{"expression": "6 * 7"}')], ["It is 42."]]
    model = ScriptedLanguageModel(turns)
    spec = AgentSpec(tools=("calculator",))
    async with caching(model, entry=SMALL) as cached, working(cached) as fleet:
        for _ in range(2):
            run = await fleet.ended(await fleet.start("six times seven?", spec=spec))
            assert run.result == "It is 42."
            assert run.usage.tool_calls == 1
        assert await calls(fleet, run) == [(CallOutcome.CACHED, 0)] * 2
        ok = fleet.figure("fleet_tool_calls_total", tool="calculator", outcome="ok")
        assert ok == 2
    assert len(model.requests) == 2


async def test_runs_at_once_share_one_answer_and_one_pays() -> None:
    go_on = asyncio.Event()
    model = ScriptedLanguageModel([["It is", go_on, " 42."]])
    async with caching(model, MemoryAnswers(), entry=SMALL) as cached, working(cached) as fleet:
        runs = [await fleet.start("six times seven?") for _ in range(20)]
        await until(lambda: bool(model.requests))
        go_on.set()
        ended = await asyncio.gather(*map(fleet.ended, runs))
        paid = [run for run in ended if run.usage.cost_micros]
    assert {run.result for run in ended} == {"It is 42."}
    assert len(paid) == len(model.requests) == 1


async def test_an_agent_that_wants_variety_is_not_cached() -> None:
    model = ScriptedLanguageModel([["one"], ["two"]])
    spec = AgentSpec(sampling=Sampling(temperature=0.7))
    async with caching(model, entry=SMALL) as cached, working(cached) as fleet:
        results = [(await fleet.ended(await fleet.start("?", spec=spec))).result for _ in range(2)]
    assert results == ["one", "two"]
