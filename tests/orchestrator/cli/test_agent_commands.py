"""`fleet agents`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.rpc.pb.fleet.v1 import agents_pb2
from tests.orchestrator.cli.terminal import Ended, fleet_command
from tests.orchestrator.rpc.given import Fleet

CLERK = """
name = "clerk"
description = "Zählt 0 \\u009b1m auf."
system_prompt = "Count."
tools = ["calculator", "ask_person"]
client_tools = [{name = "saw", parameters_json = '{"type": "object", "properties": {}}'}]
approvals = ["calculator"]
agents = ["assistant"]
handovers = ["assistant@1"]
policy = {preference = "PREFERENCE_BEST", models = ["llm_large"]}
sampling = {temperature = 0.5, max_tokens = 64, top_p = 0.9, stop = ["\\n"], seed = 0}
budget = {max_steps = 3, max_tokens = 1000, max_cost_micros = 5}
timeout = "1.5s"
interrupt_timeout = "60s"
"""


def filled(file: Path, content: str) -> str:
    file.write_text(content, "utf-8")
    return str(file)


async def applied(address: str, file: Path, content: str) -> Ended:
    return await fleet_command(address, "agents", "apply", filled(file, content))


async def test_what_show_prints_can_be_applied_and_is_the_same_agent(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    await fleet.agents.GetAgent(agents_pb2.GetAgentRequest(name="assistant"))
    assert (await applied(address, tmp_path / "clerk.toml", CLERK)).out == "clerk@1\n"
    shown = await fleet_command(address, "agents", "show", "clerk")
    assert shown.code == 0
    assert "Zählt" in shown.out
    assert "\u009b" not in shown.out
    assert (await applied(address, tmp_path / "clerk.json", shown.out)).out == "clerk@1\n"
    fields = json.loads(shown.out)
    changed = json.dumps({**fields, "system_prompt": "Count twice."})
    assert (await applied(address, tmp_path / "clerk.json", changed)).out == "clerk@2\n"
    assert (await fleet_command(address, "agents", "show", "clerk@1")).out == shown.out
    assert "clerk@1, stored 20" in (await fleet_command(address, "agents", "show", "clerk@1")).err
    as_json = await fleet_command(address, "agents", "show", "clerk", "--json")
    assert json.loads(as_json.out)["version"] == 2


@pytest.mark.parametrize(
    ("schema", "shown_as"),
    [
        ('{"type": "object", "properties": {"größe": {"const": "\u009b"}}}', "output_schema"),
        ('{"type":"object"}', "output_schema_json"),
    ],
)
async def test_an_agent_with_a_schema_that_is_shown_and_applied_is_no_new_version(
    fleet: Fleet, address: str, tmp_path: Path, schema: str, shown_as: str
) -> None:
    spec = agents_pb2.AgentSpec(output_schema_json=schema)
    await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name="clerk", spec=spec))
    shown = await fleet_command(address, "agents", "show", "clerk")
    assert set(json.loads(shown.out)) - {"name", "policy"} == {shown_as}
    assert (await applied(address, tmp_path / "clerk.json", shown.out)).out == "clerk@1\n"


async def test_agents_are_listed_with_version_policy_and_tools(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    builtin = await fleet_command(address, "agents", "list")
    assert builtin.out.splitlines()[1].startswith("assistant@1  cheapest that can  calculator  20")
    await applied(address, tmp_path / "clerk.toml", CLERK)
    listed = await fleet_command(address, "agents", "list")
    heading, *rows = listed.out.splitlines()
    assert heading.split() == ["AGENT", "MODEL", "TOOLS", "STORED"]
    assert [row.split()[0] for row in rows] == ["assistant@1", "clerk@1"]
    assert "best of llm_large  calculator, ask_person, saw (caller's), assistant (agent)" in rows[1]
    as_json = await fleet_command(address, "agents", "list", "--json", "--limit", "1")
    assert json.loads(as_json.out)["name"] == "assistant"
    assert as_json.err == "there are more than 1: --limit shows more\n"


async def test_a_policy_of_numbers_with_a_cascade_is_stored_and_shown_as_it_was_written(
    fleet: Fleet, address: str, tmp_path: Path
) -> None:
    weighed = "[policy]\ncascade = true\nweights = {quality = 2, latency = 0.5}"
    await applied(address, tmp_path / "clerk.toml", f'name = "clerk"\n{weighed}')
    shown = json.loads((await fleet_command(address, "agents", "show", "clerk")).out)
    assert shown["policy"]["weights"] == {"quality": 2.0, "latency": 0.5}
    assert shown["policy"]["cascade"] is True
    again = await applied(address, tmp_path / "clerk.json", json.dumps(shown))
    assert again.out == "clerk@1\n"
    listed = await fleet_command(address, "agents", "list")
    assert "quality 2 latency 0.5, cascade" in listed.out
    wrong = await applied(
        address, tmp_path / "b.toml", 'name = "b"\n[policy]\nweights = {cost = -1}'
    )
    assert wrong.code == 2
    assert "spec.policy.weights.cost" in wrong.err


async def test_an_agent_that_is_not_there_is_wrong_input(fleet: Fleet, address: str) -> None:
    ended = await fleet_command(address, "agents", "show", "nobody")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "fleet: there is no agent nobody [NOT_FOUND]\n"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("a.toml", 'name = "x"\nsytem_prompt = "hi"', "there is no field sytem_prompt; the fields"),
        ("a.toml", 'name = "x"\nbudget = {steps = 1}', "there is no field budget.steps; the"),
        ("a.json", '{"name": "x", "client_tools": [{"nam": ""}]}', "no field client_tools[0].nam;"),
        ("a.toml", 'name = "x"\ntools = "lookup"', "tools is 'lookup': it has to be a list"),
        ("a.toml", 'name = "x"\npolicy = {preference = "BEST"}', "policy.preference is 'BEST': it"),
        ("a.toml", 'name = "x"\npolicy.weights.speed = 1', "no field policy.weights.speed; the"),
        ("a.toml", 'name = "x"\ntimeout = "soon"', "timeout: Duration must end with letter"),
        ("a.toml", 'name = "x"\nbudget = {max_steps = -1}', "budget.max_steps: Value out of"),
        ("a.toml", 'name = "x"\n[output_schema]\nconst = 2026-01-01', "output_schema has a date"),
        (
            "a.json",
            '{"name": "x", "output_schema": {}, "output_schema_json": "{}"}',
            "output_schema or output_schema_json, not both",
        ),
        ("a.toml", "nonsense", "is not TOML: "),
        ("a.json", "nonsense", "is not JSON: "),
        ("a.json", "[" * 100_000, "is not JSON: it is nested too deeply"),
        ("a.json", '{"name": "\\ud800"}', "is not UTF-8 text"),
        ("a.json", "[1]", "one object is needed"),
        ("a.json", "{}", "an agent needs a name"),
    ],
)
def test_a_file_that_is_no_agent_is_explained_in_one_line(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    path = tmp_path / file
    path.write_text(content, "utf-8")
    ended = CliRunner().invoke(main, ["agents", "apply", str(path), "--address", "127.0.0.1:1"])
    assert ended.exit_code == 2
    assert said in ended.output.splitlines()[-1]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe")
    ended = CliRunner().invoke(main, ["agents", "apply", str(path), "--address", "127.0.0.1:1"])
    assert (ended.exit_code, "is not UTF-8 text" in ended.output) == (2, True)
