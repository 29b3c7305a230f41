"""Another model takes over a step whose model fails."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from orchestrator.adapters.scripted_models import ScriptedLanguageModel, Turn
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.errors import InvalidInput, Remedy, Unavailable
from orchestrator.domain.events import RouteDecided, RunEvent, StepRestarted, TextDelta
from orchestrator.domain.runs import RunState
from orchestrator.model_calls.gate import GuardPolicy
from orchestrator.model_calls.guarded import Guarded
from orchestrator.model_calls.metrics import GuardMetrics
from orchestrator.model_calls.router import LiveModels
from tests.orchestrator.worker.given import CATALOGUE, working


def of_small(*turn: str | Exception) -> ScriptedLanguageModel:
    """What `small` does each time; `large` says hello."""

    def played(request: ChatRequest) -> Turn:
        return turn if request.model == "small" else ["hello"]

    return ScriptedLanguageModel(played)


def failing(remedy: Remedy, reason: str = "MODEL_UNAVAILABLE") -> Unavailable:
    return Unavailable("down", reason=reason, remedy=remedy)


def decisions(events: Sequence[RunEvent]) -> list[RouteDecided]:
    return [event.payload for event in events if isinstance(event.payload, RouteDecided)]


async def test_a_step_goes_to_another_model_at_once_and_says_why() -> None:
    model = of_small(failing(Remedy.TRY_ANOTHER))
    async with working(model) as fleet:
        run = await fleet.start("hi")
        ended, events = await fleet.ended(run), await fleet.events(run)
        left = fleet.figure("fleet_model_fallbacks_total", model="small")
    assert ended.result == "hello"
    assert [request.model for request in model.requests] == ["small", "large"]
    first, second = decisions(events)
    assert (first.model, second.model) == ("small", "large")
    assert second.reason.startswith("small is not answering; ")
    assert {c.model: c.excluded for c in second.candidates}["small"] == "not answering"
    assert left == 1


async def test_a_rate_limited_model_is_passed_over_by_every_later_run() -> None:
    limited = Unavailable("slow down", reason="RATE_LIMITED", retry_after_s=30.0)
    model = of_small(limited)
    guarded = Guarded(model, CATALOGUE, GuardMetrics(CollectorRegistry()), GuardPolicy())
    async with working(guarded, live=LiveModels(away=guarded.unready)) as fleet:
        run = await fleet.start("hi")
        await fleet.ended(run)
        events = await fleet.events(run)
        later = await fleet.start("hi again")
        ended = await fleet.ended(later)
        later_events = await fleet.events(later)
    assert decisions(events)[1].reason.startswith("small is rate limited for 30 s; ")
    assert ended.result == "hello"
    assert [request.model for request in model.requests] == ["small", "large", "large"]
    (decided,) = decisions(later_events)
    assert {c.model: c.excluded for c in decided.candidates}["small"].startswith("rate limited")


async def test_text_of_the_model_that_failed_is_void_before_the_other_ones_comes() -> None:
    async with working(of_small("good ", failing(Remedy.RETRY_HERE))) as fleet:
        run = await fleet.start("hi")
        ended, events = await fleet.ended(run), await fleet.events(run)
    said = [e.payload for e in events if isinstance(e.payload, TextDelta | StepRestarted)]
    assert ended.result == "hello"
    assert [type(each) for each in said] == [TextDelta, StepRestarted, TextDelta]


async def test_what_another_model_can_not_mend_fails_the_run_at_once() -> None:
    for error in (failing(Remedy.GIVE_UP), InvalidInput("wrong")):
        model = of_small(error)
        async with working(model) as fleet:
            ended = await fleet.ended(await fleet.start("hi"))
        assert ended.state is RunState.FAILED
        assert len(model.requests) == 1


async def test_models_that_are_all_away_are_waited_for() -> None:
    failures = [failing(Remedy.TRY_ANOTHER) for _ in range(5)]

    def played(_: ChatRequest) -> Turn:
        return [failures.pop()] if failures else ["hello"]

    async with working(played) as fleet:
        ended = await fleet.ended(await fleet.start("hi"))
    assert ended.result == "hello"
