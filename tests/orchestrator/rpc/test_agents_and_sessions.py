from __future__ import annotations

import grpc
import pytest

from orchestrator.api.agents import Agents
from orchestrator.domain.agents import AgentSpec
from orchestrator.ports.tools import ToolRegistry
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, runs_pb2, sessions_pb2
from tests.orchestrator.adapters.state.given import answer, claim_one
from tests.orchestrator.rpc.given import CATALOGUE, Fleet, refusal

SPEC = agents_pb2.AgentSpec(
    description="Counts.",
    system_prompt="Count.",
    tools=["calculator", "ask_person"],
    client_tools=[
        agents_pb2.ClientTool(
            name="saw",
            description="Saws.",
            parameters_json='{"type": "object", "properties": {"n": {"type": "integer"}}}',
        )
    ],
    approvals=["calculator", "ask_assistant", "hand_over_to_assistant"],
    agents=["assistant"],
    handovers=["assistant"],
    policy=agents_pb2.ModelPolicy(
        preference=agents_pb2.ModelPolicy.PREFERENCE_BEST, models=["llm_large"]
    ),
    sampling=agents_pb2.Sampling(temperature=0.5, max_tokens=64, top_p=0.9, stop=["\n"], seed=0),
    budget=agents_pb2.Budget(max_steps=3, max_tokens=1000, max_cost_micros=5),
    output_schema_json='{"type": "boolean"}',
)
SPEC.timeout.FromMilliseconds(1500)
SPEC.interrupt_timeout.FromSeconds(60)


async def put(fleet: Fleet, name: str, spec: agents_pb2.AgentSpec = SPEC) -> agents_pb2.Agent:
    return await fleet.agents.PutAgent(agents_pb2.PutAgentRequest(name=name, spec=spec))


async def get(fleet: Fleet, name: str) -> agents_pb2.Agent:
    return await fleet.agents.GetAgent(agents_pb2.GetAgentRequest(name=name))


async def test_an_agent_comes_back_as_it_was_put(fleet: Fleet) -> None:
    made = await put(fleet, "clerk")
    assert (made.version, made.spec) == (1, SPEC)
    assert await get(fleet, "clerk") == made


async def test_a_client_tool_without_parameters_takes_none(fleet: Fleet) -> None:
    spec = agents_pb2.AgentSpec(client_tools=[agents_pb2.ClientTool(name="now")])
    made = await put(fleet, "clerk", spec)
    assert made.spec.client_tools[0].parameters_json == '{"type": "object", "properties": {}}'
    assert (await put(fleet, "clerk", spec)).version == 1


async def test_an_agent_may_call_itself(fleet: Fleet) -> None:
    made = await put(fleet, "clerk", agents_pb2.AgentSpec(agents=["clerk"]))
    assert list(made.spec.agents) == ["clerk"]


async def test_an_unspecified_preference_is_the_cheapest_that_can(fleet: Fleet) -> None:
    made = await put(fleet, "clerk", agents_pb2.AgentSpec())
    assert made.spec.policy.preference == (agents_pb2.ModelPolicy.PREFERENCE_CHEAPEST_THAT_CAN)


async def test_versions_stay_and_a_bare_name_is_the_newest(fleet: Fleet) -> None:
    await put(fleet, "clerk")
    await put(fleet, "clerk", agents_pb2.AgentSpec(system_prompt="Two."))
    assert (await put(fleet, "clerk", agents_pb2.AgentSpec(system_prompt="Two."))).version == 2
    assert (await get(fleet, "clerk")).version == 2
    assert (await get(fleet, "clerk@1")).spec == SPEC


async def test_the_builtin_assistant_is_there_until_it_is_replaced(fleet: Fleet) -> None:
    assert (await get(fleet, "assistant")).spec.system_prompt == "Help."
    await put(fleet, "assistant")
    assert (await get(fleet, "assistant")).spec == SPEC


async def test_a_release_with_another_builtin_assistant_brings_it_to_a_tenant_that_has_the_old_one(
    fleet: Fleet,
) -> None:
    assert (await get(fleet, "assistant")).version == 1
    tools, newer = ToolRegistry([]), AgentSpec(system_prompt="Help more.")
    released = Agents(
        fleet.state.agents, tools=tools, catalogue=CATALOGUE, builtin={"assistant": newer}
    )
    agent = await released.get("default", "assistant")
    assert (agent.version, agent.spec.system_prompt) == (2, "Help more.")
    assert (await get(fleet, "assistant@1")).spec.system_prompt == "Help."


async def test_agents_are_listed_page_by_page(fleet: Fleet) -> None:
    for name in ("b", "a", "c"):
        await put(fleet, name)
    first = await fleet.agents.ListAgents(agents_pb2.ListAgentsRequest(page_size=2))
    rest = await fleet.agents.ListAgents(
        agents_pb2.ListAgentsRequest(page_size=2, page_token=first.next_page_token)
    )
    names = [agent.name for agent in (*first.agents, *rest.agents)]
    assert names == ["a", "assistant", "b", "c"]
    assert rest.next_page_token == ""


async def test_a_page_of_large_agents_stays_within_a_message(fleet: Fleet) -> None:
    large = agents_pb2.AgentSpec(system_prompt="x" * 60_000)
    for i in range(100):
        await put(fleet, f"agent-{i:03}", large)
    names: list[str] = []
    token = ""
    while True:
        request = agents_pb2.ListAgentsRequest(page_size=500, page_token=token)
        page = await fleet.agents.ListAgents(request)
        assert page.ByteSize() < 2**21
        names += [agent.name for agent in page.agents]
        token = page.next_page_token
        if not token:
            break
    assert names == [*(f"agent-{i:03}" for i in range(100)), "assistant"]


async def talk(fleet: Fleet, session_id: str, times: int) -> None:
    for i in range(times):
        await fleet.runs.StartRun(
            runs_pb2.StartRunRequest(
                request_id=f"{session_id}-{i}", session_id=session_id, input=f"question {i}"
            )
        )
        claim = await claim_one(fleet.state)
        await fleet.state.runs.commit(claim, answer(claim, f"answer {i}"))


async def created(fleet: Fleet) -> str:
    request = sessions_pb2.CreateSessionRequest(labels={"k": "v"})
    return (await fleet.sessions.CreateSession(request)).session_id


async def test_a_session_shows_its_messages_page_by_page(fleet: Fleet) -> None:
    session_id = await created(fleet)
    await talk(fleet, session_id, 3)
    found: list[sessions_pb2.Message] = []
    token = ""
    for _ in range(3):
        request = sessions_pb2.ListMessagesRequest(
            session_id=session_id, page_size=2, page_token=token
        )
        page = await fleet.sessions.ListMessages(request)
        found += page.messages
        token = page.next_page_token
    assert token == ""
    assert [m.index for m in found] == list(range(6))
    assert [m.content for m in found[:2]] == ["question 0", "answer 0"]
    assert found[0].role == sessions_pb2.Message.ROLE_USER
    assert found[1].role == sessions_pb2.Message.ROLE_ASSISTANT


async def test_a_page_token_of_another_session_is_refused(fleet: Fleet) -> None:
    one, other = await created(fleet), await created(fleet)
    await talk(fleet, one, 1)
    page = await fleet.sessions.ListMessages(
        sessions_pb2.ListMessagesRequest(session_id=one, page_size=1)
    )
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.sessions.ListMessages(
            sessions_pb2.ListMessagesRequest(session_id=other, page_token=page.next_page_token)
        )
    assert refusal(error.value).field == "page_token"


async def test_a_fork_goes_its_own_way(fleet: Fleet) -> None:
    session_id = await created(fleet)
    await talk(fleet, session_id, 1)
    fork = await fleet.sessions.ForkSession(sessions_pb2.ForkSessionRequest(session_id=session_id))
    assert (fork.message_count, dict(fork.labels)) == (2, {"k": "v"})
    await talk(fleet, fork.session_id, 1)
    original = await fleet.sessions.GetSession(
        sessions_pb2.GetSessionRequest(session_id=session_id)
    )
    assert original.message_count == 2


async def test_sessions_are_listed_newest_first(fleet: Fleet) -> None:
    made = [await created(fleet) for _ in range(3)]
    listed = await fleet.sessions.ListSessions(sessions_pb2.ListSessionsRequest())
    assert [session.session_id for session in listed.sessions] == made[::-1]


async def test_a_deleted_session_is_gone_with_its_runs(fleet: Fleet) -> None:
    session_id = await created(fleet)
    await talk(fleet, session_id, 1)
    await fleet.sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=session_id))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.sessions.GetSession(sessions_pb2.GetSessionRequest(session_id=session_id))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (await fleet.runs.ListRuns(runs_pb2.ListRunsRequest())).runs


async def test_a_busy_session_is_not_deleted(fleet: Fleet) -> None:
    run = (await fleet.runs.StartRun(runs_pb2.StartRunRequest(request_id="r", input="hi"))).run
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.sessions.DeleteSession(
            sessions_pb2.DeleteSessionRequest(session_id=run.session_id)
        )
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SESSION_BUSY",
    )
    assert refused.metadata == {"active_run_id": run.run_id}
