from __future__ import annotations

import asyncio
import json
from pathlib import Path

from orchestrator.client import FleetClient
from orchestrator.domain.events import StepRestarted, TextDelta
from tests.orchestrator.adapters.state.given import answer
from tests.orchestrator.cli.terminal import claim, fleet_command
from tests.orchestrator.rpc.given import Fleet

SCHEMA = '{"type": "object", "properties": {"total": {"type": "integer"}}}'


async def finish(fleet: Fleet) -> str:
    """Answers the next run as a worker does; returns the schema that it has."""
    step = await claim(fleet.state)
    await fleet.state.runs.emit(
        step.lease,
        [
            TextDelta(text="It is two."),
            StepRestarted(reason="INVALID_OUTPUT"),
            TextDelta(text='{"total": 2}'),
        ],
    )
    await fleet.state.runs.commit(step, answer(step, '{"total":2}'))
    return step.run.output_schema_json


async def test_the_object_alone_goes_to_standard_output_once(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "order.json"
    file.write_text(SCHEMA)
    command = ("ask", "hi", "--schema", str(file), "--request-id", "r")
    asking = asyncio.ensure_future(fleet_command(address, *command))
    assert await finish(fleet) == SCHEMA
    ended = await asking
    assert (ended.code, ended.out) == (0, '{"total":2}\n')
    again = await fleet_command(address, *command)
    assert (again.code, again.out) == (0, '{"total":2}\n')


async def test_a_watch_of_a_run_with_a_schema_shows_the_object(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    agent = tmp_path / "clerk.toml"
    agent.write_text('name = "clerk"\n[output_schema]\ntype = "object"\n')
    stored = await fleet_command(address, "agents", "apply", str(agent))
    assert stored.out == "clerk@1\n"
    asking = asyncio.ensure_future(fleet_command(address, "ask", "hi", "--agent", "clerk"))
    assert json.loads(await finish(fleet)) == {"type": "object"}
    assert (await asking).out == '{"total":2}\n'
    async with FleetClient.open(address) as client:
        (run,) = (await client.runs()).runs
    for after in ("0", "-1"):
        watched = await fleet_command(address, "runs", "watch", run.run_id, "--after", after)
        assert (watched.code, watched.out) == (0, '{"total":2}\n')


async def test_a_schema_that_is_refused_is_said_with_its_place(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{"type": "object", "required": ["total"]}')
    ended = await fleet_command(address, "ask", "hi", "--schema", str(file))
    assert ended.code != 0
    assert "output_schema_json at schema: 'total' is required but not among" in ended.err


async def test_an_empty_schema_file_starts_no_run_without_a_schema(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "empty.json"
    file.touch()
    ended = await fleet_command(address, "ask", "hi", "--schema", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert f"{file} is empty: it has to hold a JSON Schema" in ended.err
    async with FleetClient.open(address) as client:
        assert not (await client.runs()).runs
