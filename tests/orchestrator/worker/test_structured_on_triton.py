"""Random prompts and schemas against the model as it is served: every answer is valid.

FLEET_STRUCTURED_PROMPTS says how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import random

import jsonschema

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel
from orchestrator.domain.agents import AgentSpec, Sampling
from orchestrator.domain.events import ToolCallFinished
from orchestrator.settings import embedded_catalogue
from tests.conftest import RunningTriton
from tests.orchestrator.random_outputs import random_prompt, random_schema
from tests.orchestrator.worker.given import Fleet, working

SMALL = {"llm_small": embedded_catalogue()["llm_small"]}
AT_ONCE = 8
PROMPTS = int(os.environ.get("FLEET_STRUCTURED_PROMPTS", "40"))


async def test_random_prompts_and_schemas_are_all_answered_with_what_fits(
    triton: RunningTriton,
) -> None:
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        async with working(model, catalogue=SMALL) as fleet:
            at_once = asyncio.Semaphore(AT_ONCE)
            asked = (_asked(fleet, seed, at_once) for seed in range(PROMPTS))
            wrong = [said for said in await asyncio.gather(*asked) if said]
    assert wrong == []


async def test_after_a_tool_call_the_answer_is_an_object_too(triton: RunningTriton) -> None:
    spec = AgentSpec(
        system_prompt="You are a helpful support desk assistant.",
        tools=("calculator",),
        output_schema_json='{"type": "object", "properties": {"said": {"type": "string"}}, '
        '"required": ["said"]}',
    )
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        async with working(model, catalogue=SMALL) as fleet:
            run = await fleet.start("What is 437 * 12?", spec=spec)
            events = await fleet.events(run)
            ended = await fleet.now(run)
    (called,) = [e.payload for e in events if isinstance(e.payload, ToolCallFinished)]
    assert called.content == "5244"
    assert json.loads(ended.result).keys() == {"said"}


async def _asked(fleet: Fleet, seed: int, at_once: asyncio.Semaphore) -> str:
    """Returns what was wrong with the answer; empty: nothing."""
    draw = random.Random(seed)
    schema, prompt = random_schema(draw), random_prompt(draw)
    temperature = draw.choice((0.0, 0.7, 1.0, 1.5))
    spec = AgentSpec(
        system_prompt=draw.choice(("", "You are a helpful support desk assistant.")),
        sampling=Sampling(temperature=temperature, seed=seed),
        output_schema_json=json.dumps(schema),
    )
    async with at_once:
        run = await fleet.start(prompt, spec=spec, agent=f"a{seed}")
        await fleet.events(run)
        run = await fleet.now(run)
    if run.error is not None:
        return f"seed {seed}: {run.error.reason}: {run.error.message} for {json.dumps(schema)}"
    jsonschema.validate(json.loads(run.result), schema)
    return ""
