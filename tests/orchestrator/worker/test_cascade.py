"""A smaller model is tried first; its answer is seen when it has passed a check, or never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.adapters.redis_state import open_redis_state
from orchestrator.adapters.scripted_models import Turn
from orchestrator.domain.agents import AgentSpec, Budget, ClientTool, ModelPolicy
from orchestrator.domain.chat import ChatRequest, FinishReason
from orchestrator.domain.errors import Unavailable
from orchestrator.domain.events import (
    AnswerChecked,
    Payload,
    RouteDecided,
    StepRestarted,
    TextDelta,
    ToolCallRequested,
)
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import CallOutcome, Run, RunState, StepRecord
from orchestrator.ports.state import State
from orchestrator.redis_server import RedisServer
from tests.orchestrator.worker.given import TENANT, Fleet, Times, call, working

DATABASE = "/11"  # flushed by each test; the other databases of the server are others'
UNCERTAIN = Classification(task={}, complexity={"simple": 0.6, "hard": 0.4}, risk={})
CASCADE = ModelPolicy(cascade=True)
CLERK = AgentSpec(policy=CASCADE, tools=("calculator",))
PLAIN = AgentSpec(policy=CASCADE)
SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
DOWN = Unavailable("it is down", reason="MODEL_UNAVAILABLE")
SUM = '{"expression": "1 + 1"}'


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the state is; empty: in memory."""
    if request.param == "memory":
        return ""
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url.removesuffix("/0") + DATABASE


@pytest.fixture
async def state(url: str) -> AsyncIterator[State]:
    if not url:
        async with open_memory_state() as state:
            yield state
        return
    async with Redis.from_url(url) as client:
        await client.flushdb()
    async with open_redis_state(url) as state:
        yield state


def says(*small: Turn, large: Turn) -> Callable[[ChatRequest], Turn]:
    """What each model answers: the small one its turns in order, and then the last again."""
    turns = iter(small)

    def turn(request: ChatRequest) -> Turn:
        return large if request.model == "large" else next(turns, small[-1])

    return turn


async def played(fleet: Fleet, run: Run) -> tuple[Run, list[Payload], tuple[StepRecord, ...]]:
    payloads = [event.payload for event in await fleet.events(run)]
    steps = await fleet.state.runs.steps(TENANT, run.run_id)
    return await fleet.now(run), payloads, steps


P = TypeVar("P")


def of(kind: type[P], payloads: list[Payload]) -> list[P]:
    return [payload for payload in payloads if isinstance(payload, kind)]


def text(payloads: list[Payload]) -> str:
    return "".join(p.text for p in payloads if isinstance(p, TextDelta))


def models(fleet: Fleet) -> list[str]:
    return [request.model for request in fleet.model.requests]


async def test_a_sure_answer_of_the_small_model_is_taken(state: State) -> None:
    script = says([0.93, "It ", "is 42."], large=["never"])
    async with working(script, classification=UNCERTAIN, state=state) as fleet:
        ended, payloads, (step,) = await played(fleet, await fleet.start("hi", spec=PLAIN))
    (decided,) = of(RouteDecided, payloads)
    assert (decided.model, decided.escalate_to) == ("small", "large")
    assert decided.reason.startswith("small is tried first, 0.54 sure to do; else large is")
    assert of(AnswerChecked, payloads) == [
        AnswerChecked(model="small", passed=True, confidence=0.93)
    ]
    assert ended.result == "It is 42." == text(payloads)
    assert (ended.model, models(fleet)) == ("small", ["small"])
    assert [(c.model, c.outcome) for c in step.calls] == [("small", CallOutcome.USED)]


async def test_an_unsure_answer_is_never_seen_and_is_paid_beside_the_larger_models(
    state: State,
) -> None:
    script = says([0.41, "It is 17."], large=["It is 42."])
    async with working(script, classification=UNCERTAIN, state=state) as fleet:
        ended, payloads, (step,) = await played(fleet, await fleet.start("hi there", spec=PLAIN))
    assert of(AnswerChecked, payloads) == [
        AnswerChecked(
            model="small",
            passed=False,
            reason="it was 0.41 sure, and 0.90 is asked for",
            confidence=0.41,
            escalated_to="large",
        )
    ]
    assert ended.result == "It is 42." == text(payloads)
    assert not of(StepRestarted, payloads)
    assert [(c.model, c.outcome) for c in step.calls] == [
        ("small", CallOutcome.REJECTED),
        ("large", CallOutcome.USED),
    ]
    assert ended.usage.cost_micros == (2 * 1 + 3 * 2) + (2 * 10 + 3 * 20)
    assert (ended.model, step.model) == ("large", "large")
    assert [request.confidence for request in fleet.model.requests] == [True, False]


@pytest.mark.parametrize(
    ("turn", "wrong"),
    [
        ([0.99, "and so on", FinishReason.LENGTH], "it was cut short by its token limit"),
        ([0.99, "  "], "it says nothing"),
        (["It is 42."], "it does not say how sure it is, and has no form to check"),
        ([0.99, call("calculator", '{"expr": 1}')], "the arguments of its call of calculator do"),
        ([0.99, call("lookup", "{}")], "it calls a tool that it was not offered"),
        ([0.99, call("buy", '{"items": "three"}')], "the arguments of its call of buy do not fit"),
        ([0.99, '<tool_call>{"name": "calcu'], "it wrote a tool call that can't be read"),
    ],
    ids=["cut", "empty", "unsure", "arguments", "unknown", "callers", "malformed"],
)
async def test_what_is_wrong_with_an_answer_is_told_without_its_text(
    turn: Turn, wrong: str
) -> None:
    schema = '{"type": "object", "properties": {"items": {"type": "integer"}}}'
    buy = ClientTool(name="buy", parameters_json=schema)
    spec = CLERK.model_copy(update={"client_tools": (buy,)})
    async with working(says(turn, large=["42"]), classification=UNCERTAIN) as fleet:
        ended, payloads, (step,) = await played(fleet, await fleet.start("hi", spec=spec))
    (checked,) = of(AnswerChecked, payloads)
    assert checked.reason.startswith(wrong)
    assert not checked.passed
    assert (ended.result, text(payloads)) == ("42", "42")
    assert [c.outcome for c in step.calls] == [CallOutcome.REJECTED, CallOutcome.USED]
    assert not of(ToolCallRequested, payloads)


async def test_calls_that_fit_are_carried_out_and_every_step_is_checked() -> None:
    script = says([0.9, call("calculator", SUM)], [0.2, "two?"], large=["It is 2."])
    async with working(script, classification=UNCERTAIN) as fleet:
        ended, payloads, steps = await played(fleet, await fleet.start("1 + 1?", spec=CLERK))
    passed = [(c.model, c.passed) for c in payloads if isinstance(c, AnswerChecked)]
    assert passed == [("small", True), ("small", False)]
    assert models(fleet) == ["small", "small", "large"]
    assert (ended.result, [step.model for step in steps]) == ("It is 2.", ["small", "large"])


async def test_a_run_that_went_to_the_larger_model_stays_there() -> None:
    turns = iter([[call("calculator", SUM)], ["It is 2."]])

    def script(request: ChatRequest) -> Turn:
        return next(turns) if request.model == "large" else [0.1, "no idea"]

    async with working(script, classification=UNCERTAIN) as fleet:
        _, payloads, _ = await played(fleet, await fleet.start("1 + 1?", spec=CLERK))
    assert models(fleet) == ["small", "large", "large"]
    assert len(of(RouteDecided, payloads)) == 1


async def test_a_run_with_an_output_schema_takes_what_fits_it_and_mends_nothing_first() -> None:
    spec = PLAIN.model_copy(update={"output_schema_json": SCHEMA})
    fits = says(['{"n": 1}'], large=["never"])
    async with working(fits, classification=UNCERTAIN) as fleet:
        ended, _, _ = await played(fleet, await fleet.start("count", spec=spec))
    assert (ended.result, models(fleet)) == ('{"n":1}', ["small"])
    async with working(says([0.99, "one"], large=['{"n": 2}']), classification=UNCERTAIN) as fleet:
        ended, payloads, _ = await played(fleet, await fleet.start("count", spec=spec))
    (checked,) = of(AnswerChecked, payloads)
    assert checked.reason == "it does not fit the output schema"
    assert (ended.result, models(fleet)) == ('{"n":2}', ["small", "large"])


async def test_a_small_model_that_is_away_gives_way_to_the_larger_one() -> None:
    script = says([0.9, "It is", DOWN], large=["It is 42."])
    async with working(script, classification=UNCERTAIN) as fleet:
        ended, payloads, (step,) = await played(fleet, await fleet.start("hi", spec=PLAIN))
    assert ended.result == "It is 42." == text(payloads)
    assert [p.model for p in payloads if isinstance(p, RouteDecided)] == ["small", "large"]
    assert not of(StepRestarted, payloads)
    assert [c.model for c in step.calls] == ["large"]


async def test_a_rejected_answer_is_not_taken_because_the_larger_model_is_away() -> None:
    script = says([0.1, "no idea"], large=[DOWN])
    times = Times(patience_s=0.0)
    async with working(script, classification=UNCERTAIN, times=times) as fleet:
        ended, payloads, _ = await played(fleet, await fleet.start("hi", spec=PLAIN))
    assert (ended.state, text(payloads)) == (RunState.FAILED, "")
    assert ended.error is not None
    assert ended.error.reason == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize("budget", [Budget(max_cost_micros=12), Budget(max_tokens=5)])
async def test_an_escalation_that_the_budget_does_not_cover_ends_the_run(
    state: State, budget: Budget
) -> None:
    script = says([0.1, "a b c"], large=["never"])
    async with working(script, classification=UNCERTAIN, state=state) as fleet:
        run = await fleet.start("hi there", spec=PLAIN, budget=budget)
        ended, payloads, _ = await played(fleet, run)
    assert ended.error is not None
    assert (ended.error.reason, models(fleet)) == ("BUDGET", ["small"])
    assert not fleet.model.refused  # the larger one was not even prompted
    assert ended.usage.cost_micros == 2 * 1 + 3 * 2
    assert (len(of(AnswerChecked, payloads)), text(payloads)) == (1, "")


async def test_without_a_cascade_or_where_the_estimate_is_certain_nothing_is_checked() -> None:
    async with working(lambda _: ["42"], classification=UNCERTAIN) as fleet:
        _, payloads, _ = await played(fleet, await fleet.start("hi", spec=AgentSpec()))
        assert (models(fleet), of(AnswerChecked, payloads)) == (["large"], [])
    async with working(lambda _: ["42"]) as fleet:
        _, payloads, _ = await played(fleet, await fleet.start("hi", spec=PLAIN))
        assert (models(fleet), of(AnswerChecked, payloads)) == (["small"], [])
