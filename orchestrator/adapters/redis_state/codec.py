"""Values as Redis keeps them, and back. JSON inside, numbers and times of the server beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from orchestrator.domain.errors import Internal
from orchestrator.domain.events import PAYLOAD, Payload, RunEvent
from orchestrator.domain.machine import Transition
from orchestrator.domain.messages import Message
from orchestrator.domain.runs import ModelCall, Run, usage_of
from orchestrator.domain.sessions import Session
from orchestrator.domain.usage import totals_of
from orchestrator.domain.work import DeadLetter, Lease, WorkItem, WorkKind

RUN_FIELDS = ("tenant", "doc", "state", "version", "created", "updated", "finished", "paused")
SESSION_FIELDS = ("tenant", "agent", "doc", "active", "created", "updated")
Arg = str | int

MOST = 2**53 - 1
"""The largest number of one call that is taken; Redis adds them up to 2^63."""


def check_tenant(tenant: str) -> str:
    if not tenant or not tenant.isprintable():
        raise Internal(f"tenant {tenant!r} must be printable text")
    return tenant


def run_doc(run: Run) -> str:
    """What has a default is left out: most fields have it most of the time."""
    return run.model_dump_json(exclude_defaults=True)


def run_from(fields: Sequence[str | None]) -> Run:
    """Reads `RUN_FIELDS`: the state and the times beside are newer than the document's."""
    _, doc, state, _, created, updated, finished, paused = fields
    # Of a name that comes twice, the later value counts.
    newer = (
        f',"state":"{state}","created_ms":{created or 0},"updated_ms":{updated or 0},'
        f'"finished_ms":{finished or 0},"paused_ms":{paused or 0}}}'
    )
    return Run.model_validate_json((doc or "{}")[:-1] + newer)


def session_doc(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels))


def session_from(session_id: str, fields: Sequence[str | None], messages: int) -> Session:
    """Reads `SESSION_FIELDS`."""
    tenant, agent, doc, active, created, updated = fields
    return Session(
        session_id=session_id,
        tenant=tenant or "",
        agent=agent or "",
        labels=json.loads(doc or "{}"),
        message_count=messages,
        active_run_id=active or "",
        created_ms=int(created or 0),
        updated_ms=int(updated or 0),
    )


def message_json(message: Message) -> str:
    return message.model_dump_json(exclude_defaults=True)


def messages_from(texts: Sequence[str]) -> tuple[Message, ...]:
    return tuple(map(Message.model_validate_json, texts))


def payload_json(payload: Payload) -> str:
    return payload.model_dump_json()


def event_from(run_id: str, seq: int, meta: str, payload: str) -> RunEvent:
    step, attempt, time_ms = meta.split(" ")
    return RunEvent(
        run_id=run_id,
        seq=seq,
        step=int(step),
        attempt=int(attempt),
        time_ms=int(time_ms),
        payload=PAYLOAD.validate_json(payload),
    )


def transition_args(
    moved: Transition, *, step: int, attempt: int, dead: DeadLetter | None
) -> list[Arg]:
    """What `take_transition` of `_run.lua` reads."""
    run = moved.run
    args: list[Arg] = [
        run_doc(run),
        run.state.value,
        step,
        attempt,
        moved.charge,
        moved.record.model_dump_json(exclude_defaults=True) if moved.record else "",
        moved.session_agent,
        run.parent.run_id if run.parent else "",
        run.parent.item_key if run.parent else "",
        dead.model_dump_json() if dead else "",
        dead.entry_id if dead else "",
        len(moved.events),
        *map(payload_json, moved.events),
        len(moved.messages),
        *map(message_json, moved.messages),
        len(moved.drop),
        *moved.drop,
        len(moved.enqueue),
    ]
    priority, agent = 0 if run.priority > 0 else 1, agent_name(run)
    for item in moved.enqueue:
        payload = f"{run.session_id} {item.model_dump_json(exclude_defaults=True)}"
        owner = agent if item.kind is WorkKind.REASON else ""
        args += [item.key, item.kind.value, priority, item.delay_ms, owner, payload]
    sums = call_args(moved.calls)
    return [*args, agent, usage_of(moved.calls).cost_micros, len(sums) // 7, *sums]


def agent_name(run: Run) -> str:
    return run.agent.partition("@")[0]


def call_args(calls: Sequence[ModelCall]) -> list[Arg]:
    """Sums by model as `_ledger.lua` reads them, seven for each.

    Raises:
        Internal: a number that can't be counted.
    """
    args: list[Arg] = []
    for model, sums in totals_of(calls).items():
        numbers = astuple(sums)
        if not all(0 <= number <= MOST for number in numbers):
            raise Internal(f"calls of {model} took {numbers}: each has to be 0 to {MOST}")
        args += [model, *numbers]
    return args


def lease_from(entry: Sequence[Any]) -> Lease:
    """Reads what CLAIM and REAP return: payload, tenant, nonce, attempt, expiry, …"""
    payload, tenant, nonce, attempt, expires = entry[:5]
    session_id, _, item = payload.partition(" ")
    return Lease(
        item=WorkItem.model_validate_json(item),
        tenant=tenant,
        session_id=session_id,
        nonce=nonce,
        attempt=int(attempt),
        expires_ms=int(expires),
    )
