from __future__ import annotations

import grpc
import pytest

from orchestrator.api.limits import SCHEMA_BYTES
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2
from tests.orchestrator.adapters.state.given import claim_one
from tests.orchestrator.rpc.given import Fleet, refusal

SCHEMA = '{"type": "object", "properties": {"total": {"type": "integer"}}}'
OTHER = '{"enum": ["yes", "no"]}'


async def put(fleet: Fleet, schema: str) -> agents_pb2.Agent:
    spec = agents_pb2.AgentSpec(output_schema_json=schema)
    return await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name="clerk", spec=spec))


async def start(fleet: Fleet, request_id: str = "r", schema: str = "") -> runs_pb2.Run:
    request = runs_pb2.StartRunRequest(
        request_id=request_id, agent="clerk", input="hi", output_schema_json=schema
    )
    return (await fleet.runs.StartRun(request)).run


async def test_a_run_has_its_agents_schema_or_its_own(fleet: Fleet) -> None:
    assert (await put(fleet, SCHEMA)).spec.output_schema_json == SCHEMA
    assert (await start(fleet)).output_schema_json == SCHEMA
    assert (await start(fleet, "s", OTHER)).output_schema_json == OTHER
    assert (await claim_one(fleet.state)).run.output_schema_json == SCHEMA


async def test_another_schema_is_another_request(fleet: Fleet) -> None:
    await put(fleet, SCHEMA)
    await start(fleet)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await start(fleet, schema=OTHER)
    assert refusal(caught.value).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "is a JSON list: it has to be an object"),
        ('{"type": "text"}', "is not JSON Schema 2020-12 at schema.type"),
        ('{"type": "object", "minLength": "x"}', "at schema.minLength"),
        (
            '{"type": "array", "items": {"type": "string", "pattern": "a"}}',
            "at schema.items: 'pattern' of 'string' can't be compiled; these can: "
            "maxLength, minLength",
        ),
        ('{"enum": ["\\ud800"]}', "is not JSON"),
        ('{"items": ' * 3000 + "{}" + "}" * 3000, "bytes: at most"),
        ('{"items": ' * 1200 + "{}" + "}" * 1200, "is nested too deep"),
        (f'{{"title": "{"x" * SCHEMA_BYTES}"}}', f"at most {SCHEMA_BYTES}"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused_by_name(
    fleet: Fleet, schema: str, why: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await put(fleet, schema)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    said = caught.value.details() or ""
    assert said.startswith("spec.output_schema_json ")
    assert why in said
    await put(fleet, SCHEMA)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await start(fleet, schema=schema)
    assert (caught.value.details() or "").startswith("output_schema_json ")
