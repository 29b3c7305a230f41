"""Every RPC refuses what is wrong, says which field it was, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    dead_letters_pb2,
    inference_pb2,
    runs_pb2,
    sessions_pb2,
    usage_pb2,
)
from tests.orchestrator.rpc.given import Fleet, picture, refusal

Code = grpc.StatusCode
KIB = 1024

SESSION = "ses_00_0123456789abcdef"  # well formed, nobody's
RUN = "run_00_0123456789abcdef"
MANY_LABELS = {f"k{i}": "v" for i in range(33)}
NEGATIVE = Duration(seconds=-1)
LONG = Duration(seconds=3601)
IMPOSSIBLE = Duration(seconds=5, nanos=-1)
MIXED_UP = b"\x0a\xff\xff\xff\xff\x0f"  # a string longer than what follows


@dataclass(frozen=True)
class Method:
    path: str
    request: type[Message]
    streams: bool = False


def _methods() -> dict[str, Method]:
    found = {}
    for module in (
        agents_pb2,
        sessions_pb2,
        runs_pb2,
        dead_letters_pb2,
        inference_pb2,
        usage_pb2,
    ):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[method.name] = Method(
                    f"/{service.full_name}/{method.name}",
                    getattr(module, method.input_type.name),
                    method.server_streaming,
                )
    return found


METHODS = _methods()


@dataclass(frozen=True)
class Bad:
    rpc: str
    request: dict[str, Any]
    field: str
    reason: str
    code: grpc.StatusCode = Code.INVALID_ARGUMENT

    def __str__(self) -> str:
        return f"{self.rpc}-{self.field or self.code.name}-{self.reason}"


def start(field: str, reason: str, code: Code = Code.INVALID_ARGUMENT, **fields: Any) -> Bad:
    return Bad("StartRun", {"request_id": "r", "input": "hi", **fields}, field, reason, code)


def put(field: str, reason: str, **spec: Any) -> Bad:
    return Bad("PutAgent", {"name": "a", "spec": agents_pb2.AgentSpec(**spec)}, field, reason)


def say(field: str, reason: str, **fields: Any) -> Bad:
    question = message(content="hi")
    return Bad("Generate", {"model": "llm_small", "messages": [question], **fields}, field, reason)


def policy(**fields: Any) -> agents_pb2.ModelPolicy:
    return agents_pb2.ModelPolicy(**fields)


def message(role: int = sessions_pb2.Message.ROLE_USER, **fields: Any) -> sessions_pb2.Message:
    return sessions_pb2.Message(role=role, **fields)  # type: ignore[arg-type]


def calling(**fields: Any) -> list[sessions_pb2.Message]:
    call = sessions_pb2.ToolCall(**{"call_id": "c", "name": "f", "arguments_json": "{}", **fields})
    assistant = message(sessions_pb2.Message.ROLE_ASSISTANT, tool_calls=[call])
    return [assistant, message(content="hi")]


def sampling(**fields: Any) -> agents_pb2.Sampling:
    return agents_pb2.Sampling(**fields)


def texts(rpc: str) -> list[Bad]:
    return [
        Bad(rpc, {}, "texts", "REQUIRED"),
        Bad(rpc, {"texts": ["hi"] * 257}, "texts", "TOO_LARGE"),
        Bad(rpc, {"texts": ["hi", ""]}, "texts[1]", "REQUIRED"),
        Bad(rpc, {"texts": ["x" * (8 * KIB + 1)]}, "texts[0]", "TOO_LARGE"),
    ]


def pages(rpc: str, **fields: Any) -> list[Bad]:
    return [
        Bad(rpc, {**fields, "page_size": 501}, "page_size", "OUT_OF_BOUNDS"),
        Bad(rpc, {**fields, "page_token": "bogus"}, "page_token", "INVALID_FIELD"),
        Bad(rpc, {**fields, "page_token": "é" * 10}, "page_token", "INVALID_FIELD"),
        Bad(rpc, {**fields, "page_token": "x" * 1025}, "page_token", "TOO_LARGE"),
    ]


def session_ids(rpc: str) -> list[Bad]:
    return [
        Bad(rpc, {}, "session_id", "REQUIRED"),
        Bad(rpc, {"session_id": "nonsense"}, "session_id", "INVALID_FIELD"),
        Bad(rpc, {"session_id": RUN}, "session_id", "INVALID_FIELD"),
        Bad(rpc, {"session_id": "x" * 129}, "session_id", "TOO_LARGE"),
        Bad(rpc, {"session_id": SESSION}, "", "NOT_FOUND", Code.NOT_FOUND),
    ]


def run_ids(rpc: str) -> list[Bad]:
    return [
        Bad(rpc, {}, "run_id", "REQUIRED"),
        Bad(rpc, {"run_id": "run_0g_0123456789abcdef"}, "run_id", "INVALID_FIELD"),
        Bad(rpc, {"run_id": SESSION}, "run_id", "INVALID_FIELD"),
        Bad(rpc, {"run_id": "x" * 129}, "run_id", "TOO_LARGE"),
        Bad(rpc, {"run_id": RUN}, "", "NOT_FOUND", Code.NOT_FOUND),
    ]


STARTS = [
    start("request_id", "REQUIRED", request_id=""),
    start("request_id", "TOO_LARGE", request_id="x" * 129),
    start("request_id", "INVALID_FIELD", request_id="a b"),
    start("session_id", "INVALID_FIELD", session_id="nonsense"),
    start("session_id", "INVALID_FIELD", session_id=RUN),
    start("", "NOT_FOUND", Code.NOT_FOUND, session_id=SESSION),
    start("agent", "INVALID_FIELD", agent="No Such!"),
    start("agent", "INVALID_FIELD", agent="assistant@0"),
    start("agent", "INVALID_FIELD", agent="assistant@"),
    start("agent", "TOO_LARGE", agent="x" * 129),
    start("", "NOT_FOUND", Code.NOT_FOUND, agent="nobody"),
    start("", "NOT_FOUND", Code.NOT_FOUND, agent="assistant@7"),
    start("input", "REQUIRED", input=""),
    start("input", "REQUIRED", input=" \n"),
    start("input", "TOO_LARGE", input="é" * (128 * KIB + 1)),
    start("busy_policy", "UNKNOWN_ENUM", busy_policy=99),
    start("budget.max_tokens", "OUT_OF_BOUNDS", budget=agents_pb2.Budget(max_tokens=2**64 - 1)),
    start("budget.max_cost_micros", "OUT_OF_BOUNDS", budget={"max_cost_micros": 2**53}),
    start("timeout", "OUT_OF_BOUNDS", timeout=NEGATIVE),
    start("timeout", "OUT_OF_BOUNDS", timeout=LONG),
    start("timeout", "INVALID_FIELD", timeout=IMPOSSIBLE),
    start("timeout", "INVALID_FIELD", timeout=Duration(seconds=2**62)),
    start("priority", "OUT_OF_BOUNDS", priority=2),
    start("labels", "TOO_LARGE", labels=MANY_LABELS),
    start("labels", "REQUIRED", labels={"": "v"}),
    start("labels", "TOO_LARGE", labels={"k" * 65: "v"}),
    start("labels['k']", "TOO_LARGE", labels={"k": "v" * 257}),
]


def tool(name: str = "saw", parameters_json: str = "", **fields: Any) -> agents_pb2.ClientTool:
    return agents_pb2.ClientTool(name=name, parameters_json=parameters_json, **fields)


def client_tools() -> list[Bad]:
    def one(field: str, reason: str, *tools: agents_pb2.ClientTool, **spec: Any) -> Bad:
        return put(f"spec.client_tools{field}", reason, client_tools=tools, **spec)

    schemas = (
        "{",
        "[]",
        '"x"',
        "{}",
        '{"type": "array"}',
        '{"type": "object", "properties": 5}',
        '{"type": "object", "properties": {"a": {"type": "nonsense"}}}',
        '{"type": "object", "properties": {"a": {"pattern": "("}}}',
        '{"type": "object", "properties": {"a": {"pattern": "a{9999999999}"}}}',
        '{"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}}',
        '{"type": "object", "allOf": [{"$dynamicRef": "file:///etc/passwd"}]}',
        '{"type": "object", "not": ' * 600 + "{}" + "}" * 600,
        '{"type": "object", "maxProperties": ' + "9" * 5_000 + "}",
    )
    return [
        one("[0].name", "REQUIRED", tool("")),
        one("[0].name", "INVALID_FIELD", tool("no such")),
        one("[0].name", "INVALID_FIELD", tool("x" * 65)),
        one("[0].name", "TOO_LARGE", tool("x" * 129)),
        one("[0].name", "NAME_TAKEN", tool("calculator"), tools=["calculator"]),
        one("[0].name", "NAME_TAKEN", tool("ask_person")),
        one("[0].name", "NAME_TAKEN", tool("ask_assistant"), agents=["assistant"]),
        one("[0].name", "NAME_TAKEN", tool("hand_over_to_assistant"), handovers=["assistant"]),
        one("[1].name", "NAME_TAKEN", tool("saw"), tool("saw")),
        one("[0].description", "TOO_LARGE", tool(description="x" * (4 * KIB + 1))),
        one("[0].parameters_json", "TOO_LARGE", tool("saw", "x" * (16 * KIB + 1))),
        *(one("[0].parameters_json", "INVALID_FIELD", tool("saw", text)) for text in schemas),
        one("", "TOO_LARGE", *(tool(f"t{i}") for i in range(65))),
        one("", "TOO_LARGE", *(tool(f"t{i}", " " * (16 * KIB)) for i in range(5))),
    ]


def resume(field: str, reason: str, code: Code = Code.INVALID_ARGUMENT, **fields: Any) -> Bad:
    complete = {"run_id": RUN, "interrupt_id": "int_0", "approval": {"approved": True}, **fields}
    return Bad("ResumeRun", complete, field, reason, code)


def entry_ids(rpc: str) -> list[Bad]:
    return [
        Bad(rpc, {}, "entry_id", "REQUIRED"),
        Bad(rpc, {"entry_id": "x" * 101}, "entry_id", "TOO_LARGE"),
        Bad(rpc, {"entry_id": "nobody's"}, "", "NOT_FOUND", Code.NOT_FOUND),
    ]


AGENTS = [
    Bad("PutAgent", {}, "name", "REQUIRED"),
    Bad("PutAgent", {"name": "x" * 129}, "name", "TOO_LARGE"),
    Bad("PutAgent", {"name": "No Such!"}, "name", "INVALID_FIELD"),
    Bad("PutAgent", {"name": "a@1"}, "name", "INVALID_FIELD"),
    put("spec.description", "TOO_LARGE", description="x" * (4 * KIB + 1)),
    put("spec.system_prompt", "TOO_LARGE", system_prompt="x" * (64 * KIB + 1)),
    put("spec.tools[1]", "UNKNOWN_TOOL", tools=["calculator", "hammer"]),
    put("spec.tools[1]", "INVALID_FIELD", tools=["calculator", "calculator"]),
    put("spec.tools", "TOO_LARGE", tools=["calculator"] * 65),
    put("spec.policy.preference", "UNKNOWN_ENUM", policy={"preference": 9}),
    put("spec.policy.models[0]", "UNKNOWN_MODEL", policy={"models": ["gpt-9"]}),
    put("spec.sampling.temperature", "OUT_OF_BOUNDS", sampling=sampling(temperature=2.5)),
    put("spec.sampling.temperature", "OUT_OF_BOUNDS", sampling=sampling(temperature=-1)),
    put("spec.sampling.temperature", "OUT_OF_BOUNDS", sampling=sampling(temperature=float("nan"))),
    put("spec.sampling.temperature", "OUT_OF_BOUNDS", sampling=sampling(temperature=float("inf"))),
    put("spec.sampling.top_p", "OUT_OF_BOUNDS", sampling=sampling(top_p=0)),
    put("spec.sampling.top_p", "OUT_OF_BOUNDS", sampling=sampling(top_p=float("nan"))),
    put("spec.sampling.max_tokens", "OUT_OF_BOUNDS", sampling=sampling(max_tokens=2**32 - 1)),
    put("spec.sampling.seed", "OUT_OF_BOUNDS", sampling=sampling(seed=2**64 - 1)),
    put("spec.sampling.stop", "TOO_LARGE", sampling=sampling(stop=["x"] * 17)),
    put("spec.sampling.stop[0]", "TOO_LARGE", sampling=sampling(stop=["x" * 257])),
    put("spec.sampling.stop[1]", "INVALID_FIELD", sampling=sampling(stop=["x", ""])),
    put("spec.budget.max_tokens", "OUT_OF_BOUNDS", budget={"max_tokens": 2**63}),
    *client_tools(),
    put("spec.approvals[0]", "UNKNOWN_TOOL", approvals=["calculator"]),
    put("spec.approvals[1]", "INVALID_FIELD", tools=["calculator"], approvals=["calculator"] * 2),
    put("spec.approvals[0]", "INVALID_FIELD", tools=["ask_person"], approvals=["ask_person"]),
    put("spec.approvals[0]", "INVALID_FIELD", client_tools=[tool("saw")], approvals=["saw"]),
    put("spec.approvals", "TOO_LARGE", approvals=["x"] * 193),
    put("spec.agents[0]", "UNKNOWN_AGENT", agents=["nobody"]),
    put("spec.agents[0]", "UNKNOWN_AGENT", agents=["assistant@9"]),
    put("spec.agents[1]", "INVALID_FIELD", agents=["assistant", "assistant"]),
    put("spec.agents[0]", "INVALID_FIELD", agents=["No Such!"]),
    put("spec.agents[0]", "REQUIRED", agents=[""]),
    put("spec.agents[0]", "TOO_LARGE", agents=["x" * 129]),
    put("spec.agents", "TOO_LARGE", agents=[f"a{i}" for i in range(65)]),
    put("spec.handovers[1]", "UNKNOWN_AGENT", handovers=["assistant", "nobody"]),
    put("spec.handovers[0]", "INVALID_FIELD", handovers=["a@0"]),
    put("spec.interrupt_timeout", "OUT_OF_BOUNDS", interrupt_timeout=NEGATIVE),
    put("spec.interrupt_timeout", "OUT_OF_BOUNDS", interrupt_timeout=Duration(seconds=604_801)),
    put("spec.timeout", "OUT_OF_BOUNDS", timeout=LONG),
    put("spec.timeout", "OUT_OF_BOUNDS", timeout=NEGATIVE),
    Bad("GetAgent", {}, "name", "REQUIRED"),
    Bad("GetAgent", {"name": "x" * 129}, "name", "TOO_LARGE"),
    Bad("GetAgent", {"name": "a@@1"}, "name", "INVALID_FIELD"),
    Bad("GetAgent", {"name": "nobody"}, "", "NOT_FOUND", Code.NOT_FOUND),
    *pages("ListAgents"),
]

SESSIONS = [
    Bad("CreateSession", {"agent": "No Such!"}, "agent", "INVALID_FIELD"),
    Bad("CreateSession", {"agent": "nobody"}, "", "NOT_FOUND", Code.NOT_FOUND),
    Bad("CreateSession", {"labels": MANY_LABELS}, "labels", "TOO_LARGE"),
    Bad("CreateSession", {"labels": {"k": "v" * 257}}, "labels['k']", "TOO_LARGE"),
    *session_ids("GetSession"),
    *pages("ListSessions"),
    *session_ids("ListMessages"),
    *pages("ListMessages", session_id=SESSION),
    *session_ids("ForkSession"),
    *session_ids("DeleteSession"),
]

RUNS = [
    *STARTS,
    *(replace(bad, rpc="Ask") for bad in STARTS),
    *run_ids("WatchRun"),
    Bad("WatchRun", {"run_id": RUN, "after_seq": -2}, "after_seq", "OUT_OF_BOUNDS"),
    *run_ids("GetRun"),
    *pages("ListRuns"),
    Bad("ListRuns", {"session_id": "nonsense"}, "session_id", "INVALID_FIELD"),
    Bad("ListRuns", {"session_id": SESSION}, "", "NOT_FOUND", Code.NOT_FOUND),
]

STEERING = [
    *run_ids("CancelRun"),
    *(
        replace(bad, request={"approval": {"approved": True}, "interrupt_id": "i", **bad.request})
        for bad in run_ids("ResumeRun")
    ),
    Bad("ResumeRun", {"run_id": RUN, "interrupt_id": "int_0"}, "answer", "REQUIRED"),
    resume("interrupt_id", "REQUIRED", interrupt_id=""),
    resume("interrupt_id", "TOO_LARGE", interrupt_id="x" * 129),
    Bad(
        "ResumeRun",
        {"run_id": RUN, "interrupt_id": "i", "approval": {"reason": "x" * (4 * KIB + 1)}},
        "approval.reason",
        "TOO_LARGE",
    ),
    *(
        Bad("ResumeRun", {"run_id": RUN, "interrupt_id": "i", **answer}, "answer", reason)
        for answer, reason in (
            ({"result": {}}, "REQUIRED"),
            ({"result": {"content": " \n"}}, "REQUIRED"),
            ({"result": {"content": "x" * (64 * KIB + 1)}}, "TOO_LARGE"),
            ({"reply": {}}, "REQUIRED"),
            ({"reply": {"text": "x" * (64 * KIB + 1)}}, "TOO_LARGE"),
        )
    ),
]


def bill(field: str, reason: str, code: Code = Code.INVALID_ARGUMENT, **fields: Any) -> Bad:
    return Bad("GetUsage", fields, field, reason, code)


DAY, MODEL = usage_pb2.GetUsageRequest.GROUP_BY_DAY, usage_pb2.GetUsageRequest.GROUP_BY_MODEL
USAGE = [
    bill("first_day", "INVALID_FIELD", first_day="yesterday"),
    bill("first_day", "INVALID_FIELD", first_day="20260131"),
    bill("first_day", "INVALID_FIELD", first_day="2026-02-30"),
    bill("first_day", "INVALID_FIELD", first_day="٢026-01-01"),
    bill("last_day", "INVALID_FIELD", last_day="2026-1-1"),
    bill("last_day", "TOO_LARGE", last_day="2" * 129),
    bill("first_day", "INVALID_FIELD", first_day="2026-01-02", last_day="2026-01-01"),
    bill("first_day", "OUT_OF_BOUNDS", first_day="0001-01-01", last_day="9999-12-31"),
    bill("agent", "INVALID_FIELD", agent="No Such!"),
    bill("agent", "INVALID_FIELD", agent="assistant@1"),
    bill("model", "TOO_LARGE", model="x" * 129),
    bill("group_by[1]", "INVALID_FIELD", group_by=[DAY, DAY]),
    bill("group_by[0]", "UNKNOWN_ENUM", group_by=[0]),
    bill("group_by[1]", "UNKNOWN_ENUM", group_by=[MODEL, 9]),
    bill("run_id", "INVALID_FIELD", run_id=RUN, session_id=SESSION),
    bill("first_day", "INVALID_FIELD", run_id=RUN, first_day="2026-01-01"),
    bill("agent", "INVALID_FIELD", session_id=SESSION, agent="assistant"),
    bill("group_by[1]", "INVALID_FIELD", session_id=SESSION, group_by=[MODEL, DAY]),
    bill("session_id", "INVALID_FIELD", session_id=RUN),
    bill("session_id", "TOO_LARGE", session_id="x" * 129),
    bill("run_id", "INVALID_FIELD", run_id="nonsense"),
    bill("", "NOT_FOUND", Code.NOT_FOUND, session_id=SESSION),
    bill("", "NOT_FOUND", Code.NOT_FOUND, run_id=RUN),
]

DEAD_LETTERS = [
    *pages("ListDeadLetters"),
    *entry_ids("GetDeadLetter"),
    *entry_ids("RedriveDeadLetter"),
    Bad("PurgeDeadLetters", {}, "entry_ids", "REQUIRED"),
    Bad("PurgeDeadLetters", {"entry_ids": ["x"] * 501}, "entry_ids", "TOO_LARGE"),
    Bad("PurgeDeadLetters", {"entry_ids": ["x", ""]}, "entry_ids[1]", "REQUIRED"),
    Bad("PurgeDeadLetters", {"entry_ids": ["x" * 101]}, "entry_ids[0]", "TOO_LARGE"),
    Bad("PurgeDeadLetters", {"entry_ids": ["x"], "all": True}, "all", "INVALID_FIELD"),
]

INFERENCE = [
    *texts("Route"),
    *texts("Embed"),
    *texts("Classify"),
    Bad(
        "Route",
        {"texts": ["hi"], "policy": {"preference": -1}},
        "policy.preference",
        "UNKNOWN_ENUM",
    ),
    Bad(
        "Route", {"texts": ["hi"], "policy": {"models": ["x"]}}, "policy.models[0]", "UNKNOWN_MODEL"
    ),
    say("policy.models[0]", "UNKNOWN_MODEL", model="", policy=policy(models=["gpt-9"])),
    say("model", "UNKNOWN_MODEL", model="gpt-9"),
    say("model", "TOO_LARGE", model="x" * 129),
    say("system_prompt", "TOO_LARGE", system_prompt="x" * (64 * KIB + 1)),
    say("tools[0]", "UNKNOWN_TOOL", tools=["hammer"]),
    say("sampling.temperature", "OUT_OF_BOUNDS", sampling=sampling(temperature=3)),
    say("messages", "REQUIRED", messages=[]),
    say("messages", "TOO_LARGE", messages=[message(content="x")] * 513),
    say("messages", "TOO_LARGE", messages=[message(content="x" * 250 * KIB)] * 5),
    say("messages[0].role", "UNKNOWN_ENUM", messages=[sessions_pb2.Message(content="hi")]),
    say("messages[0].role", "UNKNOWN_ENUM", messages=[message(77, content="hi")]),
    say("messages[0].role", "INVALID_FIELD", messages=[message(2, content="hi")]),
    say("messages[0].content", "REQUIRED", messages=[message()]),
    say("messages[0].content", "TOO_LARGE", messages=[message(content="x" * (256 * KIB + 1))]),
    say("messages[0].tool_call_id", "REQUIRED", messages=[message(3, content="5")]),
    say("messages[0].name", "TOO_LARGE", messages=[message(content="x", name="n" * 129)]),
    say("messages[0].tool_calls[0].name", "REQUIRED", messages=calling(name="")),
    say("messages[0].tool_calls[0].call_id", "REQUIRED", messages=calling(call_id="")),
    say(
        "messages[0].tool_calls[0].arguments_json",
        "INVALID_FIELD",
        messages=calling(arguments_json="{"),
    ),
    say(
        "messages[0].tool_calls[0].arguments_json",
        "INVALID_FIELD",
        messages=calling(arguments_json="[" * 60_000),
    ),
    say(
        "messages[0].tool_calls[0].arguments_json",
        "INVALID_FIELD",
        messages=calling(arguments_json="[]"),
    ),
    say(
        "messages[0].tool_calls",
        "INVALID_FIELD",
        messages=[message(content="hi", tool_calls=[sessions_pb2.ToolCall(call_id="c")])],
    ),
]

TABLE = [*AGENTS, *SESSIONS, *RUNS, *STEERING, *DEAD_LETTERS, *INFERENCE, *USAGE]
ASK_NOTHING = {"ListModels", "ListBudgets"}


@pytest.mark.parametrize("bad", TABLE, ids=str)
async def test_a_wrong_request_is_refused_by_its_field_and_changes_nothing(
    fleet: Fleet, bad: Bad
) -> None:
    await fleet.agents.GetAgent(agents_pb2.GetAgentRequest(name="assistant"))
    before = await picture(fleet.state, "default")
    method = METHODS[bad.rpc]
    body = method.request(**bad.request).SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.send(method.path, body, streams=method.streams)
    refused = refusal(error.value)
    assert (refused.code, refused.reason, refused.field) == (bad.code, bad.reason, bad.field)
    assert_says_no_more_than_it_should(refused.message)
    assert await picture(fleet.state, "default") == before


@pytest.mark.parametrize("rpc", METHODS)
async def test_a_cut_off_message_is_an_invalid_argument(fleet: Fleet, rpc: str) -> None:
    await assert_malformed(fleet, METHODS[rpc], MIXED_UP)


@pytest.mark.parametrize("rpc", [rpc for rpc in METHODS if rpc not in ASK_NOTHING])
async def test_text_that_is_not_utf8_is_an_invalid_argument(fleet: Fleet, rpc: str) -> None:
    method = METHODS[rpc]
    fields = method.request.DESCRIPTOR.fields
    number = next(f.number for f in fields if f.type == f.TYPE_STRING)
    await assert_malformed(fleet, method, bytes([number << 3 | 2, 2]) + b"\xc3\x28")


async def assert_malformed(fleet: Fleet, method: Method, body: bytes) -> None:
    before = await picture(fleet.state, "default")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.send(method.path, body, streams=method.streams)
    refused = refusal(error.value)
    assert (refused.code, refused.reason) == (Code.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert_says_no_more_than_it_should(refused.message)
    assert await picture(fleet.state, "default") == before


def test_the_table_has_every_method() -> None:
    assert {bad.rpc for bad in TABLE} == set(METHODS) - ASK_NOTHING


async def test_a_refused_request_id_is_still_free(fleet: Fleet) -> None:
    for request in ({"agent": "nobody"}, {"timeout": NEGATIVE}, {"session_id": SESSION}):
        with pytest.raises(grpc.aio.AioRpcError):
            await fleet.runs.StartRun(
                runs_pb2.StartRunRequest(request_id="r", input="hi", **request)
            )
    answer = await fleet.runs.StartRun(runs_pb2.StartRunRequest(request_id="r", input="other"))
    assert not answer.deduplicated


def assert_says_no_more_than_it_should(message: str) -> None:
    assert message
    assert len(message.encode()) <= 1000
    for trace in ("Traceback", 'File "', "Error(", "pydantic", "google.protobuf", "<class"):
        assert trace not in message
