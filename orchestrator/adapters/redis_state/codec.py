"""Values as Redis keeps them, and back. JSON inside, numbers and times of the server beside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.domain.errors import Internal
from orchestrator.domain.events import PAYLOAD, Payload, RunEvent
from orchestrator.domain.machine import Transition
from orchestrator.domain.runs import Run
from orchestrator.domain.sessions import Session
from orchestrator.domain.work import Lease, WorkItem

RUN_FIELDS = ("tenant", "doc", "state", "version", "created", "updated", "finished")
SESSION_FIELDS = ("tenant", "doc", "active", "created", "updated")
Arg = str | int


def check_tenant(tenant: str) -> str:
    if not tenant or not tenant.isprintable():
        raise Internal(f"tenant {tenant!r} must be printable text")
    return tenant


def run_from(fields: Sequence[str | None]) -> Run:
    """Reads `RUN_FIELDS`: the state and the times are newer than the document's."""
    _, doc, state, _, created, updated, finished = fields
    return Run.model_validate_json(doc or "").model_copy(
        update={
            "state": Run.model_fields["state"].annotation(state),  # type: ignore[misc]
            "created_ms": int(created or 0),
            "updated_ms": int(updated or 0),
            "finished_ms": int(finished or 0),
        }
    )


def session_doc(agent: str, labels: dict[str, str]) -> str:
    return json.dumps({"agent": agent, "labels": labels})


def session_from(session_id: str, fields: Sequence[str | None], messages: int) -> Session:
    """Reads `SESSION_FIELDS`."""
    tenant, doc, active, created, updated = fields
    return Session(
        session_id=session_id,
        tenant=tenant or "",
        message_count=messages,
        active_run_id=active or "",
        created_ms=int(created or 0),
        updated_ms=int(updated or 0),
        **json.loads(doc or "{}"),
    )


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


def transition_args(moved: Transition, *, step: int, attempt: int, dead: str = "") -> list[Arg]:
    """What `take_transition` of `_run.lua` reads."""
    run = moved.run
    items: list[Arg] = []
    for item in moved.enqueue:
        priority = 0 if run.priority > 0 else 1
        items += [item.key, item.kind.value, priority, _item_payload(item, run.session_id)]
    return [
        run.model_dump_json(),
        run.state.value,
        step,
        attempt,
        moved.charge,
        dead,
        moved.record.model_dump_json() if moved.record else "",
        len(moved.events),
        *(payload_json(event) for event in moved.events),
        len(moved.messages),
        *(message.model_dump_json() for message in moved.messages),
        len(moved.enqueue),
        *items,
    ]


def _item_payload(item: WorkItem, session_id: str) -> str:
    return f"{session_id} {item.model_dump_json()}"


def lease_from(entry: Sequence[Any]) -> Lease:
    """Reads what CLAIM and REAP return: payload, tenant, nonce, attempt, expiry."""
    payload, tenant, nonce, attempt, expires = entry
    session_id, _, item = payload.partition(" ")
    return Lease(
        item=WorkItem.model_validate_json(item),
        tenant=tenant,
        session_id=session_id,
        nonce=nonce,
        attempt=int(attempt),
        expires_ms=int(expires),
    )
