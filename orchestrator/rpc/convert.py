"""Between protobuf messages and the domain's types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import ValidationError

from orchestrator.api.inference import Generate, ModelStatus
from orchestrator.api.runs import RunDetails, StartRun
from orchestrator.api.watching import Watched
from orchestrator.domain import events
from orchestrator.domain.agents import (
    Agent,
    AgentSpec,
    Budget,
    ModelPolicy,
    Preference,
    Sampling,
)
from orchestrator.domain.chat import ChatChunk, ChatFinished, TextChunk, ToolCallChunk
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import BusyPolicy, Run, RunError, RunState, StepRecord, Usage
from orchestrator.domain.sessions import Session
from orchestrator.domain.snapshot import Snapshot
from orchestrator.rpc.pb.fleet.v1 import agents_pb2, inference_pb2, runs_pb2, sessions_pb2

EnumT = TypeVar("EnumT", bound=StrEnum)

_LONGEST_SECONDS = 315_576_000_000  # protobuf's bound of a Duration, 10,000 years


# From protobuf.


def agent_spec(spec: agents_pb2.AgentSpec) -> AgentSpec:
    return AgentSpec(
        description=spec.description,
        system_prompt=spec.system_prompt,
        tools=tuple(spec.tools),
        policy=model_policy(spec.policy, "spec.policy"),
        sampling=sampling(spec.sampling, "spec.sampling"),
        budget=budget(spec.budget),
        timeout_ms=milliseconds(spec.timeout, "spec.timeout"),
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
    )


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
    )


def generate(request: inference_pb2.GenerateRequest) -> Generate:
    return Generate(
        model=request.model,
        system_prompt=request.system_prompt,
        messages=tuple(_message(m, f"messages[{i}]") for i, m in enumerate(request.messages)),
        tools=tuple(request.tools),
        sampling=sampling(request.sampling, "sampling"),
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
        raise InvalidInput(f"{path}: {first['msg']}", field=path, reason="OUT_OF_BOUNDS") from None


# To protobuf.


def agent_message(agent: Agent) -> agents_pb2.Agent:
    return agents_pb2.Agent(
        name=agent.name,
        version=agent.version,
        spec=agent_spec_message(agent.spec),
        create_time=_timestamp(agent.created_ms),
    )


def agent_spec_message(spec: AgentSpec) -> agents_pb2.AgentSpec:
    return agents_pb2.AgentSpec(
        description=spec.description,
        system_prompt=spec.system_prompt,
        tools=spec.tools,
        policy=agents_pb2.ModelPolicy(
            preference=agents_pb2.ModelPolicy.Preference.Value(
                f"PREFERENCE_{spec.policy.preference.name}"
            ),
            models=spec.policy.models,
        ),
        sampling=agents_pb2.Sampling(**spec.sampling.model_dump(exclude_none=True)),
        budget=budget_message(spec.budget),
        timeout=duration(spec.timeout_ms),
    )


def budget_message(budget: Budget) -> agents_pb2.Budget:
    return agents_pb2.Budget(**budget.model_dump())


def session_message(session: Session) -> sessions_pb2.Session:
    return sessions_pb2.Session(
        session_id=session.session_id,
        agent=session.agent,
        labels=session.labels,
        message_count=session.message_count,
        active_run_id=session.active_run_id,
        create_time=_timestamp(session.created_ms),
        update_time=_timestamp(session.updated_ms),
    )


def message_messages(start: int, messages: Iterable[Message]) -> list[sessions_pb2.Message]:
    """`start` is the first one's index in the session."""
    return [
        sessions_pb2.Message(
            role=sessions_pb2.Message.Role.Value(f"ROLE_{message.role.name}"),
            content=message.content,
            tool_calls=map(tool_call_message, message.tool_calls),
            tool_call_id=message.tool_call_id,
            name=message.name,
            run_id=message.run_id,
            index=index,
        )
        for index, message in enumerate(messages, start)
    ]


def tool_call_message(call: ToolCall) -> sessions_pb2.ToolCall:
    return sessions_pb2.ToolCall(
        call_id=call.call_id, name=call.name, arguments_json=call.arguments_json
    )


def run_details_message(details: RunDetails) -> runs_pb2.Run:
    message = run_message(details.run)
    message.steps.extend(map(_step, details.steps))
    return message


def run_message(run: Run) -> runs_pb2.Run:
    return runs_pb2.Run(
        run_id=run.run_id,
        session_id=run.session_id,
        agent=run.agent,
        state=_state(run.state),
        step=run.step,
        budget=budget_message(run.budget),
        timeout=duration(run.timeout_ms),
        priority=run.priority,
        labels=run.labels,
        usage=usage_message(run.usage),
        result=run.result,
        error=_error(run.error),
        create_time=_timestamp(run.created_ms),
        update_time=_timestamp(run.updated_ms),
        finish_time=_timestamp(run.finished_ms),
    )


def _step(record: StepRecord) -> runs_pb2.StepRecord:
    return runs_pb2.StepRecord(
        step=record.step,
        attempt=record.attempt,
        model=record.model,
        finish_reason=record.finish_reason,
        usage=usage_message(record.usage),
        route_ms=record.route_ms,
        prompt_ms=record.prompt_ms,
        time_to_first_token_ms=record.ttft_ms,
        inference_ms=record.inference_ms,
    )


def usage_message(usage: Usage) -> runs_pb2.Usage:
    return runs_pb2.Usage(**usage.model_dump())


def event_message(item: Watched) -> runs_pb2.RunEvent:
    if isinstance(item, Snapshot):
        return _snapshot(item)
    message = runs_pb2.RunEvent(
        run_id=item.run_id,
        seq=item.seq,
        attempt=item.attempt,
        step=item.step,
        time=_timestamp(item.time_ms),
    )
    getattr(message, item.payload.kind).CopyFrom(_payload(item.payload))
    return message


def _snapshot(snapshot: Snapshot) -> runs_pb2.RunEvent:
    run, progress = snapshot.run, snapshot.progress
    return runs_pb2.RunEvent(
        run_id=run.run_id,
        seq=progress.seq,
        attempt=progress.attempt,
        step=progress.step,
        time=_timestamp(progress.time_ms or run.created_ms),
        snapshot=runs_pb2.Snapshot(run=run_message(run), text=progress.text),
    )


_PayloadMessage = (
    runs_pb2.StateChanged
    | runs_pb2.RouteDecided
    | runs_pb2.TextDelta
    | runs_pb2.ToolCallRequested
    | runs_pb2.ToolCallFinished
    | runs_pb2.StepRestarted
    | runs_pb2.Interrupted
    | runs_pb2.Finished
)


def _payload(payload: events.Payload) -> _PayloadMessage:
    match payload:
        case events.StateChanged():
            return runs_pb2.StateChanged(state=_state(payload.state))
        case events.RouteDecided():
            return route_message(payload)
        case events.TextDelta():
            return runs_pb2.TextDelta(text=payload.text)
        case events.ToolCallRequested():
            return runs_pb2.ToolCallRequested(call=tool_call_message(payload.call))
        case events.ToolCallFinished():
            return runs_pb2.ToolCallFinished(**payload.model_dump(exclude={"kind"}))
        case events.StepRestarted():
            return runs_pb2.StepRestarted(reason=payload.reason)
        case events.Interrupted():
            call = tool_call_message(payload.call) if payload.call else None
            return runs_pb2.Interrupted(reason=payload.reason, call=call)
        case events.Finished():
            return runs_pb2.Finished(
                state=_state(payload.state),
                result=payload.result,
                error=_error(payload.error),
                usage=usage_message(payload.usage),
            )


def route_message(decision: events.RouteDecided) -> runs_pb2.RouteDecided:
    return runs_pb2.RouteDecided(
        model=decision.model,
        reason=decision.reason,
        task=decision.task,
        complexity=decision.complexity,
        risk=decision.risk,
        candidates=[runs_pb2.Candidate(**c.model_dump()) for c in decision.candidates],
    )


def model_message(status: ModelStatus) -> inference_pb2.ModelStatus:
    entry = status.entry
    return inference_pb2.ModelStatus(
        name=entry.name,
        provider=entry.provider.value,
        ready=status.ready,
        capabilities=sorted(c.value for c in entry.capabilities),
        context_tokens=entry.context_tokens,
        input_micros_per_million_tokens=entry.input_price,
        output_micros_per_million_tokens=entry.output_price,
    )


def classification_message(value: Classification) -> inference_pb2.Classification:
    return inference_pb2.Classification(
        task=value.task, complexity=value.complexity, risk=value.risk
    )


def chunk_message(chunk: ChatChunk) -> inference_pb2.GenerateResponse:
    match chunk:
        case TextChunk():
            return inference_pb2.GenerateResponse(text_delta=runs_pb2.TextDelta(text=chunk.text))
        case ToolCallChunk():
            call = runs_pb2.ToolCallRequested(call=tool_call_message(chunk.call))
            return inference_pb2.GenerateResponse(tool_call=call)
        case ChatFinished():
            return inference_pb2.GenerateResponse(
                finished=inference_pb2.GenerateFinished(
                    finish_reason=chunk.reason.value, usage=usage_message(chunk.usage)
                )
            )


def duration(milliseconds: int) -> Duration | None:
    if not milliseconds:
        return None
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _timestamp(milliseconds: int) -> Timestamp | None:
    if not milliseconds:
        return None
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _state(state: RunState) -> runs_pb2.RunState.ValueType:
    return runs_pb2.RunState.Value(f"RUN_STATE_{state.name}")


def _error(error: RunError | None) -> runs_pb2.RunError | None:
    return runs_pb2.RunError(reason=error.reason, message=error.message) if error else None
