"""The same StartRun a thousand times at once, and a message delivered a hundred times."""

from __future__ import annotations

import asyncio
import time

import grpc

from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from scripts.chaos_trials.callers import Caller, calling
from scripts.chaos_trials.ground import Conditions, Ground, ground
from scripts.chaos_trials.load import AGENT, Accepted
from scripts.chaos_trials.orders import TENANTS
from scripts.chaos_trials.outcome import Outcome
from scripts.chaos_trials.plans import Plan, Plans

AT_ONCE = 1_000
DELIVERIES = 100
APIS = 2
STEPS = (("idempotent", "at_most_once"), ("idempotent",))


async def run(conditions: Conditions, outcome: Outcome) -> None:
    messages = 5 if conditions.quick else 50
    async with ground(conditions, outcome) as place, calling(place, APIS) as callers:
        await place.load.prepare()
        place.keep(2, 2)
        await _at_once(place, callers)
        plans = Plans(place.rng, "message")
        for number in range(messages):
            await _deliver(place, callers, plans.draw(), f"message-{number}")
            conditions.progress(f"identical: {number} of {messages} messages")
        await place.finish()


async def _at_once(place: Ground, callers: list[Caller]) -> None:
    plan = Plan("identical", STEPS)
    request = runs_pb2.StartRunRequest(request_id="identical", agent=AGENT, input=plan.text)
    answers = await asyncio.gather(
        *(callers[n % len(callers)].start(TENANTS[0], request) for n in range(AT_ONCE))
    )
    outcome = place.outcome
    runs = {answer.run.run_id for answer in answers}
    new = sum(not answer.deduplicated for answer in answers)
    outcome.expect(len(runs) == 1, f"{AT_ONCE} identical StartRun made {len(runs)} runs")
    outcome.expect(new == 1, f"{new} of {AT_ONCE} identical StartRun were told to be the first")
    outcome.times += AT_ONCE
    for answer in answers[:1]:
        _accept(place, plan, answer)
    other = runs_pb2.StartRunRequest(request_id="identical", agent=AGENT, input="{}")
    try:
        await callers[0].start(TENANTS[0], other)
    except grpc.aio.AioRpcError as error:
        refused = error.code() is grpc.StatusCode.ALREADY_EXISTS
        outcome.expect(refused, f"another body under the same request id was {error.code()}")
    else:
        outcome.expect(False, "another body under the same request id was accepted")


async def _deliver(place: Ground, callers: list[Caller], plan: Plan, request_id: str) -> None:
    """Delivers one message again and again: before, while and after it is worked on."""
    request = runs_pb2.StartRunRequest(request_id=request_id, agent=AGENT, input=plan.text)
    runs: set[str] = set()
    for number in range(DELIVERIES):
        answer = await place.rng.choice(callers).start(TENANTS[1], request)
        if not runs:
            _accept(place, plan, answer, tenant=TENANTS[1])
        runs.add(answer.run.run_id)
        if number % 10 == 0:
            await asyncio.sleep(0.01)
    place.outcome.times += DELIVERIES
    place.outcome.expect(
        len(runs) == 1, f"{request_id} delivered {DELIVERIES} times made {len(runs)} runs"
    )


def _accept(
    place: Ground, plan: Plan, answer: runs_pb2.StartRunResponse, tenant: str = TENANTS[0]
) -> None:
    run = answer.run
    place.load.accept(Accepted(tenant, run.run_id, run.session_id, plan, time.monotonic()))
