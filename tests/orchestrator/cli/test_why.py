"""`fleet runs get RUN --why`."""

from __future__ import annotations

import json

from orchestrator.adapters.memory_state import open_memory_state
from orchestrator.domain.agents import ModelPolicy, PolicyWeights
from orchestrator.domain.catalogue import Capability
from orchestrator.domain.events import (
    AnswerCached,
    AnswerChecked,
    CacheHit,
    Payload,
    RouteDecided,
    StepRestarted,
    TextDelta,
)
from orchestrator.domain.routing import Classification, Demand, ModelSignals, decide
from orchestrator.ports.state import Limits
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import answer, claim_one
from tests.orchestrator.cli.terminal import fleet_command
from tests.orchestrator.rpc.given import CATALOGUE, Fleet, serving

HARD = Classification(
    task={"lookup": 0.75, "code": 0.25}, complexity={"simple": 0.25, "hard": 0.75}, risk={}
)


def decision(policy: ModelPolicy = ModelPolicy(), **away: str) -> RouteDecided:  # noqa: B008
    made = decide(
        Demand({Capability.CHAT}, prompt_tokens=120, new_tokens=64),
        HARD,
        catalogue=CATALOGUE,
        policy=policy,
        away=away,
        signals={"llm_small": ModelSignals(3, 2, 10.0, 1.0)},
    )
    return made.model_copy(update={"route_ms": 4.25})


async def ran(fleet: Fleet, *emitted: Payload, ended: bool = True) -> str:
    request = runs_pb2.StartRunRequest(request_id="r1", input="hi")
    run_id = (await fleet.runs.StartRun(request)).run.run_id
    claim = await claim_one(fleet.state)
    if ended:
        await fleet.state.runs.commit(claim, answer(claim), emitted=emitted)
    else:
        await fleet.state.runs.emit(claim.lease, emitted)
    return run_id


async def test_each_decision_of_an_ended_run_is_a_table_with_all_it_went_by(
    fleet: Fleet, address: str
) -> None:
    run_id = await ran(fleet, decision(), TextDelta(text="hello"))
    shown = await fleet_command(address, "runs", "get", run_id, "--why")
    assert (shown.code, shown.err) == (0, "")
    said, policy, seen, heading, small, large = shown.out.splitlines()
    assert said == "step 1: none is estimated at 0.80 or better; llm_large is the best at 0.68"
    assert policy == "  policy cheapest that can; 120 + 64 tokens, chat; decided in 4.2 ms"
    assert seen == "  complexity: hard 0.75, simple 0.25; task: lookup 0.75, code 0.25"
    assert heading.split()[:4] == ["MODEL", "SCORE", "QUALITY", "COST"]
    assert heading.endswith("IN FLIGHT  WAITING  EXCLUDED")
    assert small.split()[:4] == ["llm_small", "-0.775", "0.23", "0.000025"]
    assert small.split()[-2:] == ["3", "2"]
    assert large.split()[:3] == ["*", "llm_large", "-0.325"]
    assert large.split()[-1] == "?"


async def test_who_was_left_out_is_shown_with_the_reason(fleet: Fleet, address: str) -> None:
    weights = ModelPolicy(weights=PolicyWeights(quality=2, latency=0.5), cascade=True)
    run_id = await ran(fleet, decision(weights, llm_small="its breaker is open"))
    shown = await fleet_command(address, "runs", "get", run_id, "--why")
    small = next(line for line in shown.out.splitlines() if "llm_small" in line)
    assert small.endswith("its breaker is open")
    assert "policy quality 2 latency 0.5, cascade;" in shown.out


async def test_checks_escalations_restarts_and_cached_answers_are_told_in_order(
    fleet: Fleet, address: str
) -> None:
    tried = decision().model_copy(update={"model": "llm_small", "escalate_to": "llm_large"})
    refused = AnswerChecked(
        model="llm_small",
        passed=False,
        reason="it was not sure enough",
        confidence=0.5,
        escalated_to="llm_large",
    )
    run_id = await ran(
        fleet,
        tried,
        refused,
        StepRestarted(reason="MODEL_UNAVAILABLE"),
        AnswerChecked(model="llm_large", passed=True),
        AnswerCached(model="llm_large", hit=CacheHit.SEMANTIC, similarity=0.97),
    )
    out = (await fleet_command(address, "runs", "get", run_id, "--why")).out
    told = [line for line in out.splitlines() if line.startswith("step")]
    assert told[1:] == [
        "step 1: llm_small was not good enough: it was not sure enough; llm_large is asked "
        "(confidence 0.50)",
        "step 1: the step started over (MODEL_UNAVAILABLE)",
        "step 1: the answer of llm_large was checked and taken",
        "step 1: llm_large was not asked: semantic cache hit (similarity 0.97)",
    ]
    assert "  checked, and llm_large is asked if the answer does not pass" in out


async def test_a_run_that_goes_on_is_told_of_up_to_now(fleet: Fleet, address: str) -> None:
    run_id = await ran(fleet, decision(), ended=False)
    shown = await fleet_command(address, "runs", "get", run_id, "--why")
    assert shown.code == 0
    assert shown.out.startswith("step 1: none is estimated")


async def test_the_same_as_json_is_one_object(fleet: Fleet, address: str) -> None:
    run_id = await ran(fleet, decision(), TextDelta(text="hello"))
    shown = await fleet_command(address, "runs", "get", run_id, "--why", "--json")
    (line,) = shown.out.splitlines()
    said = json.loads(line)
    assert said["run_id"] == run_id
    (event,) = said["events"]
    assert event["route_decided"]["model"] == "llm_large"
    assert len(event["route_decided"]["candidates"]) == 2


async def test_a_run_before_its_first_decision_says_so(fleet: Fleet, address: str) -> None:
    request = runs_pb2.StartRunRequest(request_id="r1", input="hi")
    run_id = (await fleet.runs.StartRun(request)).run.run_id
    shown = await fleet_command(address, "runs", "get", run_id, "--why")
    assert (shown.code, shown.out, shown.err) == (0, "", "no model was chosen\n")


async def test_a_run_whose_first_events_are_gone_is_told_of_from_there_on() -> None:
    async with serving(open_memory_state(limits=Limits(events=100))) as fleet:
        address = f"127.0.0.1:{fleet.server.port}"
        many = [TextDelta(text=str(number)) for number in range(150)]
        run_id = await ran(fleet, *many, decision())
        shown = await fleet_command(address, "runs", "get", run_id, "--why")
    assert shown.code == 0
    assert shown.err.startswith("the events before 5")
    assert shown.out.startswith("step 1: none is estimated")


async def test_there_is_nothing_to_tell_of_a_run_that_is_not_there(
    fleet: Fleet, address: str
) -> None:
    shown = await fleet_command(address, "runs", "get", "run_0_nothing", "--why")
    assert shown.code == 2
