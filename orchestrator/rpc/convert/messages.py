"""From the domain's types to protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.inference import ModelStatus
from orchestrator.api.runs import RunDetails
from orchestrator.api.watching import Watched
from orchestrator.domain import events
from orchestrator.domain.agents import Agent, AgentSpec, Budget, ModelPolicy
from orchestrator.domain.budgets import BudgetState
from orchestrator.domain.chat import ChatChunk, ChatFinished, TextChunk, ToolCallChunk
from orchestrator.domain.interrupts import InterruptKind
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.routing import Classification
from orchestrator.domain.runs import (
    ModelCall,
    PendingCall,
    Run,
    RunError,
    RunState,
    StepRecord,
    Usage,
)
from orchestrator.domain.sessions import Session
from orchestrator.domain.snapshot import Snapshot
from orchestrator.domain.usage import UsageRow
from orchestrator.domain.work import DeadLetter
from orchestrator.rpc.pb.fleet.v1 import (
    agents_pb2,
    dead_letters_pb2,
    inference_pb2,
    runs_pb2,
    sessions_pb2,
    usage_pb2,
)


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
        client_tools=[agents_pb2.ClientTool(**tool.model_dump()) for tool in spec.client_tools],
        approvals=spec.approvals,
        agents=spec.agents,
        handovers=spec.handovers,
        policy=policy_message(spec.policy),
        sampling=agents_pb2.Sampling(**spec.sampling.model_dump(exclude_none=True)),
        budget=budget_message(spec.budget),
        timeout=duration(spec.timeout_ms),
        interrupt_timeout=duration(spec.interrupt_timeout_ms),
        output_schema_json=spec.output_schema_json,
    )


def policy_message(policy: ModelPolicy) -> agents_pb2.ModelPolicy:
    weights = policy.weights
    return agents_pb2.ModelPolicy(
        preference=agents_pb2.ModelPolicy.Preference.Value(f"PREFERENCE_{policy.preference.name}"),
        models=policy.models,
        weights=agents_pb2.PolicyWeights(**weights.model_dump()) if weights else None,
        cascade=policy.cascade,
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
        parent_run_id=run.parent.run_id if run.parent else "",
        pending_calls=map(_pending_call, run.pending),
        interrupts=[_interrupt(p) for p in run.pending if p.interrupt],
        output_schema_json=run.output_schema_json,
    )


def _pending_call(pending: PendingCall) -> runs_pb2.PendingCall:
    return runs_pb2.PendingCall(
        call=tool_call_message(pending.call),
        finished=pending.content is not None,
        interrupt_id=pending.interrupt.interrupt_id if pending.interrupt else "",
        child_run_id=pending.child_run_id,
    )


def _interrupt(pending: PendingCall) -> runs_pb2.Interrupt:
    assert pending.interrupt is not None
    return runs_pb2.Interrupt(
        interrupt_id=pending.interrupt.interrupt_id,
        kind=_interrupt_kind(pending.interrupt.kind),
        call=tool_call_message(pending.call),
        detail=pending.interrupt.detail,
        timeout=duration(pending.interrupt.ttl_ms),
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
        calls=map(model_call_message, record.calls),
    )


def model_call_message(call: ModelCall) -> runs_pb2.ModelCall:
    return runs_pb2.ModelCall(
        model=call.model,
        outcome=runs_pb2.ModelCall.Outcome.Value(f"OUTCOME_{call.outcome.name}"),
        usage=usage_message(call.usage),
        input_micros_per_million_tokens=call.input_price,
        cached_input_micros_per_million_tokens=call.cached_input_price,
        output_micros_per_million_tokens=call.output_price,
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
    getattr(message, item.payload.kind).CopyFrom(_payload(item.payload, item.time_ms))
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
    | runs_pb2.SubRunStarted
    | runs_pb2.AnswerChecked
    | runs_pb2.AnswerCached
    | runs_pb2.Interrupted
    | runs_pb2.Finished
)


def _payload(payload: events.Payload, time_ms: int) -> _PayloadMessage:
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
        case events.SubRunStarted():
            return runs_pb2.SubRunStarted(**payload.model_dump(exclude={"kind"}))
        case events.AnswerChecked():
            return runs_pb2.AnswerChecked(**payload.model_dump(exclude={"kind"}))
        case events.AnswerCached():
            return cached_message(payload)
        case events.Interrupted():
            return runs_pb2.Interrupted(
                interrupt_id=payload.interrupt_id,
                kind=_interrupt_kind(payload.reason),
                call=tool_call_message(payload.call),
                detail=payload.detail,
                expire_time=_timestamp(time_ms + payload.ttl_ms),
            )
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
        policy=policy_message(decision.policy),
        prompt_tokens=decision.prompt_tokens,
        new_tokens=decision.new_tokens,
        capabilities=decision.capabilities,
        escalate_to=decision.escalate_to,
        route_ms=decision.route_ms,
    )


def cached_message(cached: events.AnswerCached) -> runs_pb2.AnswerCached:
    return runs_pb2.AnswerCached(
        model=cached.model,
        kind=runs_pb2.AnswerCached.Kind.Value(f"KIND_{cached.hit.name}"),
        similarity=cached.similarity,
    )


def model_message(status: ModelStatus) -> inference_pb2.ModelStatus:
    entry = status.entry
    return inference_pb2.ModelStatus(
        name=entry.name,
        provider=entry.provider,
        ready=status.ready,
        capabilities=sorted(c.value for c in entry.capabilities),
        context_tokens=entry.context_tokens,
        input_micros_per_million_tokens=entry.input_price,
        output_micros_per_million_tokens=entry.output_price,
        cached_input_micros_per_million_tokens=entry.cached_read_price,
    )


def classification_message(value: Classification) -> inference_pb2.Classification:
    return inference_pb2.Classification(
        task=value.task, complexity=value.complexity, risk=value.risk
    )


def chunk_message(
    chunk: ChatChunk | events.RouteDecided | events.AnswerCached,
) -> inference_pb2.GenerateResponse:
    match chunk:
        case events.AnswerCached():
            return inference_pb2.GenerateResponse(answer_cached=cached_message(chunk))
        case events.RouteDecided():
            return inference_pb2.GenerateResponse(route_decided=route_message(chunk))
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


_MOST = 2**64 - 1  # of a uint64


def usage_row_message(row: UsageRow) -> usage_pb2.UsageRow:
    return usage_pb2.UsageRow(
        day=row.day,
        agent=row.agent,
        model=row.model,
        **{name: min(number, _MOST) for name, number in asdict(row.totals).items()},
    )


def budget_state_message(budget: BudgetState) -> usage_pb2.BudgetState:
    return usage_pb2.BudgetState(
        agent=budget.agent,
        period=budget.rule.period.value,
        limit_micros=budget.rule.limit_micros,
        spent_micros=min(budget.spent_micros, _MOST),
        reserved_micros=max(0, budget.reserved_micros),
    )


def dead_letter_message(entry: DeadLetter) -> dead_letters_pb2.DeadLetter:
    fields = entry.model_dump(exclude={"tenant", "time_ms"})
    return dead_letters_pb2.DeadLetter(**fields, time=_timestamp(entry.time_ms))


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


def _interrupt_kind(kind: InterruptKind) -> runs_pb2.InterruptKind.ValueType:
    return runs_pb2.InterruptKind.Value(f"INTERRUPT_KIND_{kind.name}")


def _error(error: RunError | None) -> runs_pb2.RunError | None:
    return runs_pb2.RunError(reason=error.reason, message=error.message) if error else None
