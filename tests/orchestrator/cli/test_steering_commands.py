"""`fleet runs cancel|resume` and `fleet dlq`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.machine import Failed, advance
from orchestrator.domain.runs import RunError
from orchestrator.rpc.pb.fleet.v1 import runs_pb2
from tests.orchestrator.adapters.state.given import CALLS, asks_for_tools, claim_one
from tests.orchestrator.cli.terminal import fleet_command
from tests.orchestrator.rpc.given import Fleet

ERROR = RunError(reason="MODEL_UNAVAILABLE", message="nobody\x1b[2J answered")


async def started(fleet: Fleet, request_id: str = "r1") -> str:
    request = runs_pb2.StartRunRequest(request_id=request_id, input="hi")
    return (await fleet.runs.StartRun(request)).run.run_id


async def buried(fleet: Fleet, request_id: str) -> str:
    run_id = await started(fleet, request_id)
    claim = await claim_one(fleet.state)
    await fleet.state.runs.commit(claim, advance(claim.run, Failed(ERROR, dead_letter=True)))
    return run_id


async def entry_ids(fleet: Fleet) -> list[str]:
    page = await fleet.state.dead_letters.list("default", limit=99, token="")
    return [entry.entry_id for entry in page.items]


async def test_cancel_says_what_became_of_the_run(fleet: Fleet, address: str) -> None:
    run_id = await started(fleet)
    ended = await fleet_command(address, "runs", "cancel", run_id)
    assert (ended.code, ended.out) == (0, f"{run_id}  cancelled\n")
    await started(fleet, "r2")
    running = (await claim_one(fleet.state)).run.run_id
    ended = await fleet_command(address, "runs", "cancel", running)
    assert ended.out.startswith(f"{running}  running; who works on it is told")


async def test_watching_from_the_end_of_a_run_on_ends_as_the_run_did(
    fleet: Fleet, address: str
) -> None:
    run_id = await buried(fleet, "r1")
    ended = await fleet_command(address, "runs", "watch", run_id, "--after", "-1")
    assert ended.code == 1
    assert "[MODEL_UNAVAILABLE]" in ended.err


async def test_get_shows_what_a_run_waits_for_and_resume_answers_it(
    fleet: Fleet, address: str
) -> None:
    run_id = await started(fleet)
    claim = await claim_one(fleet.state)
    gates = {"c0": InterruptKind.CLIENT_TOOL}
    await fleet.state.runs.commit(claim, asks_for_tools(claim, CALLS[:1], gates=gates))
    shown = await fleet_command(address, "runs", "get", run_id)
    assert "client tool: calculator" in shown.out
    interrupt = (await fleet.state.runs.get("default", run_id)).pending[0].interrupt
    assert interrupt is not None
    way = ("runs", "resume", run_id, interrupt.interrupt_id)
    wrong = await fleet_command(address, *way, "--approve")
    assert wrong.code == 2
    assert "client_tool takes a result or reply or a denial" in wrong.err
    right = await fleet_command(address, *way, "--result", "42", "--json")
    assert (right.code, json.loads(right.out)["state"]) == (0, "RUN_STATE_RUNNING")
    late = await fleet_command(address, *way, "--result", "42")
    assert (late.code, "[INTERRUPT_NOT_PENDING]" in late.err) == (2, True)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--approve", "--deny"],
        ["--approve", "--reply", "x"],
        ["--approve", "--reason", "x"],
        ["--reply", "x", "--error"],
    ],
)
def test_an_answer_that_is_none_or_two_is_wrong_usage(options: list[str]) -> None:
    ended = CliRunner().invoke(main, ["runs", "resume", "run", "int", *options])
    assert ended.exit_code == 2
    assert "Usage:" in ended.output


async def test_dead_letters_are_listed_and_shown(fleet: Fleet, address: str) -> None:
    none = await fleet_command(address, "dlq", "list")
    assert (none.code, none.out, none.err) == (0, "", "no dead letters\n")
    run_id = await buried(fleet, "r1")
    (entry_id,) = await entry_ids(fleet)
    listed = await fleet_command(address, "dlq", "list")
    heading, row = listed.out.splitlines()
    assert heading.split()[0] == "ENTRY"
    assert row.startswith(entry_id)
    assert "\x1b" not in row
    shown = await fleet_command(address, "dlq", "show", entry_id)
    for said in (run_id, "(failed)", "MODEL_UNAVAILABLE", f"{run_id}:1", "1, the last by w"):
        assert said in shown.out
    as_json = await fleet_command(address, "dlq", "show", entry_id, "--json")
    assert json.loads(as_json.out)["run_id"] == run_id


async def test_dead_letters_are_redriven_and_those_that_can_not_be_are_named(
    fleet: Fleet, address: str
) -> None:
    await buried(fleet, "r1")
    (entry_id,) = await entry_ids(fleet)
    ended = await fleet_command(address, "dlq", "redrive", entry_id, "gone")
    assert ended.code == 2
    assert ended.out.startswith(f"{entry_id} → run_")
    assert "gone:" in ended.err
    assert await entry_ids(fleet) == []
    again = await fleet_command(address, "dlq", "redrive", entry_id)
    assert (again.code, again.out) == (0, f"{ended.out.strip()} (redriven before)\n")
    assert (await claim_one(fleet.state)).run.input == "hi"


async def test_dead_letters_are_purged_by_name_or_all_when_that_is_meant(
    fleet: Fleet, address: str
) -> None:
    for i in range(3):
        await buried(fleet, f"r{i}")
    newest, *others = await entry_ids(fleet)
    for options in ((), ("--all", newest)):
        assert (await fleet_command(address, "dlq", "purge", *options)).code == 2
    assert (await fleet_command(address, "dlq", "purge", newest)).out == "removed 1\n"
    refused = await fleet_command(address, "dlq", "purge", "--all", stdin=b"n\n")
    assert refused.code == 2
    assert await entry_ids(fleet) == others
    assert (await fleet_command(address, "dlq", "purge", "--all", "--yes")).out == "removed 2\n"
    assert await entry_ids(fleet) == []
