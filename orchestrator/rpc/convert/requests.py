"""From protobuf messages to the domain's types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError

from orchestrator.api.inference import Generate
from orchestrator.api.runs import StartRun
from orchestrator.api.usage import GroupBy, UsageQuery
from orchestrator.domain.agents import (
    AgentSpec,
    Budget,
    ClientTool,
    ModelPolicy,
    PolicyWeights,
    Preference,
    Sampling,
)
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.interrupts import Answer, Answered, Approved, Denied
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.runs import BusyPolicy
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    inference_pb2,
    runs_pb2,
    sessions_pb2,
    usage_pb2,
)

EnumT = TypeVar("EnumT", bound=StrEnum)

_LONGEST_SECONDS = 315_576_000_000  # protobuf's bound of a Duration, 10,000 years
_NO_PARAMETERS = '{"type": "object", "properties": {}}'


def agent_spec(spec: agents_pb2.AgentSpec) -> AgentSpec:
    return AgentSpec(
        description=spec.description,
        system_prompt=spec.system_prompt,
        tools=tuple(spec.tools),
        client_tools=tuple(map(_client_tool, spec.client_tools)),
        approvals=tuple(spec.approvals),
        agents=tuple(spec.agents),
        handovers=tuple(spec.handovers),
        policy=model_policy(spec.policy, "spec.policy"),
        sampling=sampling(spec.sampling, "spec.sampling"),
        budget=budget(spec.budget),
        timeout_ms=milliseconds(spec.timeout, "spec.timeout"),
        interrupt_timeout_ms=milliseconds(spec.interrupt_timeout, "spec.interrupt_timeout"),
        output_schema_json=spec.output_schema_json,
    )


def _client_tool(tool: agents_pb2.ClientTool) -> ClientTool:
    return ClientTool(
        name=tool.name,
        description=tool.description,
        parameters_json=tool.parameters_json or _NO_PARAMETERS,
    )


def model_policy(policy: agents_pb2.ModelPolicy, field: str) -> ModelPolicy:
    return ModelPolicy(
        preference=_enum(
            policy.preference,
            dict(agents_pb2.ModelPolicy.Preference.items()),
            "PREFERENCE",
            Preference,
            f"{field}.preference",
            default=Preference.CHEAPEST_THAT_CAN,
        ),
        models=tuple(policy.models),
        weights=_weights(policy, f"{field}.weights"),
        cascade=policy.cascade,
    )


def _weights(policy: agents_pb2.ModelPolicy, field: str) -> PolicyWeights | None:
    if not policy.HasField("weights"):
        return None
    given = policy.weights
    with _field(field):
        return PolicyWeights(quality=given.quality, cost=given.cost, latency=given.latency)


def sampling(message: agents_pb2.Sampling, field: str) -> Sampling:
    with _field(field):
        return Sampling(
            temperature=message.temperature,
            max_tokens=message.max_tokens,
            top_p=message.top_p if message.HasField("top_p") else None,
            stop=tuple(message.stop),
            seed=message.seed if message.HasField("seed") else None,
        )


def budget(message: agents_pb2.Budget) -> Budget:
    return Budget(
        max_steps=message.max_steps,
        max_tokens=message.max_tokens,
        max_cost_micros=message.max_cost_micros,
    )


def start_run(request: runs_pb2.StartRunRequest) -> StartRun:
    return StartRun(
        request_id=request.request_id,
        session_id=request.session_id,
        agent=request.agent,
        input=request.input,
        busy_policy=_enum(
            request.busy_policy,
            dict(runs_pb2.BusyPolicy.items()),
            "BUSY_POLICY",
            BusyPolicy,
            "busy_policy",
            default=BusyPolicy.REJECT,
        ),
        budget=budget(request.budget),
        timeout_ms=milliseconds(request.timeout, "timeout"),
        priority=request.priority,
        labels=dict(request.labels),
        output_schema_json=request.output_schema_json,
    )


def answer(request: runs_pb2.ResumeRunRequest) -> Answer:
    match request.WhichOneof("answer"):
        case "approval":
            said = request.approval
            return Approved() if said.approved else Denied(reason=said.reason)
        case "result":
            return Answered(content=request.result.content, ok=not request.result.is_error)
        case "reply":
            return Answered(content=request.reply.text)
        case _:
            raise InvalidInput(
                "answer is missing: it has to be an approval, a result or a reply",
                field="answer",
                reason="REQUIRED",
            )


def generate(request: inference_pb2.GenerateRequest) -> Generate:
    return Generate(
        model=request.model,
        system_prompt=request.system_prompt,
        messages=tuple(_message(m, f"messages[{i}]") for i, m in enumerate(request.messages)),
        tools=tuple(request.tools),
        sampling=sampling(request.sampling, "sampling"),
        policy=model_policy(request.policy, "policy"),
        output_schema_json=request.output_schema_json,
    )


def usage_query(request: usage_pb2.GetUsageRequest) -> UsageQuery:
    numbers = dict(usage_pb2.GetUsageRequest.GroupBy.items())
    return UsageQuery(
        first_day=request.first_day,
        last_day=request.last_day,
        agent=request.agent,
        model=request.model,
        group_by=tuple(
            _enum(value, numbers, "GROUP_BY", GroupBy, f"group_by[{i}]")
            for i, value in enumerate(request.group_by)
        ),
        session_id=request.session_id,
        run_id=request.run_id,
    )


def _message(message: sessions_pb2.Message, field: str) -> Message:
    return Message(
        role=_enum(
            message.role, dict(sessions_pb2.Message.Role.items()), "ROLE", Role, f"{field}.role"
        ),
        content=message.content,
        tool_calls=tuple(
            ToolCall(call_id=c.call_id, name=c.name, arguments_json=c.arguments_json)
            for c in message.tool_calls
        ),
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def milliseconds(duration: Duration, field: str) -> int:
    """Rounds up, so that the shortest duration is not taken for none."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _LONGEST_SECONDS or abs(nanos) > 999_999_999 or seconds * nanos < 0:
        raise InvalidInput(
            f"{field} of {seconds} s and {nanos} ns is not a valid Duration", field=field
        )
    if seconds < 0 or nanos < 0:
        raise InvalidInput(
            f"{field} is negative, {seconds + nanos / 1e9:g} s", field=field, reason="OUT_OF_BOUNDS"
        )
    return seconds * 1000 - (-nanos // 1_000_000)


def _enum(
    value: int,
    numbers: Mapping[str, int],
    prefix: str,
    values: type[EnumT],
    field: str,
    *,
    default: EnumT | None = None,
) -> EnumT:
    """Finds the domain's value by its name; 0, UNSPECIFIED, is the default, if there is one."""
    if value == 0 and default is not None:
        return default
    named = {numbers[name]: v for v in values if (name := f"{prefix}_{v.name}") in numbers}
    if value not in named:
        allowed = ", ".join(f"{prefix}_{v.name} = {number}" for number, v in named.items())
        raise InvalidInput(
            f"{field} is {value}: it has to be one of {allowed}", field=field, reason="UNKNOWN_ENUM"
        )
    return named[value]


@contextmanager
def _field(prefix: str) -> Iterator[None]:
    """Names the protobuf field of a value that the domain's type refuses."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join([prefix, *map(str, first["loc"])])
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{path}: {said}", field=path, reason="OUT_OF_BOUNDS") from None
