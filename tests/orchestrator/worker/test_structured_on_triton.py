"""Random prompts and schemas against the model as it is served: every answer is valid.

FLEET_STRUCTURED_PROMPTS says how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter

import jsonschema

from orchestrator.adapters.triton import TritonConnection, TritonLanguageModel
from orchestrator.domain.agents import AgentSpec, Sampling
from orchestrator.domain.events import StepRestarted
from orchestrator.domain.runs import RunState
from orchestrator.settings import embedded_catalogue
from tests.conftest import RunningTriton
from tests.orchestrator.random_outputs import random_prompt, random_schema
from tests.orchestrator.worker.given import Fleet, working

SMALL = {"llm_small": embedded_catalogue()["llm_small"]}
PROMPTS = int(os.environ.get("FLEET_STRUCTURED_PROMPTS", "40"))


async def test_random_prompts_and_schemas_are_all_answered_with_what_fits(
    triton: RunningTriton,
) -> None:
    async with TritonConnection(triton.grpc_url) as connection:
        model = TritonLanguageModel(connection, SMALL)
        async with working(model, catalogue=SMALL) as fleet:
            ended = await asyncio.gather(*(_asked(fleet, seed) for seed in range(PROMPTS)))
    print(Counter(ended))
    assert [seed for seed, said in enumerate(ended) if "valid" not in said] == []


async def _asked(fleet: Fleet, seed: int) -> str:
    draw = random.Random(seed)
    schema, prompt = random_schema(draw), random_prompt(draw)
    temperature = draw.choice((0.0, 0.7, 1.0, 1.5))
    spec = AgentSpec(
        system_prompt=draw.choice(("", "You are a helpful support desk assistant.")),
        sampling=Sampling(temperature=temperature, seed=seed),
        output_schema_json=json.dumps(schema),
    )
    run = await fleet.ended(await fleet.start(prompt, spec=spec, agent=f"a{seed}"))
    if run.state is not RunState.COMPLETED:
        assert run.error is not None
        return f"{seed}: {run.error.reason}: {run.error.message} {json.dumps(schema)}"
    jsonschema.validate(json.loads(run.result), schema)
    restarts = [e for e in await fleet.events(run) if isinstance(e.payload, StepRestarted)]
    return f"valid after {1 + len(restarts)}"
