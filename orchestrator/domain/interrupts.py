"""What a run waits for that only somebody outside can give, and the answers."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

from orchestrator.domain.base import Value
from orchestrator.domain.messages import ToolCall


class InterruptKind(StrEnum):
    """APPROVAL: a person allows the call. CLIENT_TOOL: the caller runs it. REPLY: a person
    answers the model's question. OUTCOME_UNKNOWN: an at-most-once call was cut off, and a
    person says what became of it, or has it run again.
    """

    APPROVAL = "approval"
    CLIENT_TOOL = "client_tool"
    REPLY = "reply"
    OUTCOME_UNKNOWN = "outcome_unknown"


class Interrupt(Value):
    """`interrupt_id` stands for this run, this call and its exact arguments, once."""

    interrupt_id: str
    kind: InterruptKind
    detail: str = ""
    ttl_ms: int = 0


class Approved(Value):
    """Run the call. Answers APPROVAL and OUTCOME_UNKNOWN."""


class Denied(Value):
    """Don't; the model is told why. Answers every kind."""

    reason: str = ""


class Answered(Value):
    """The call's result. Answers CLIENT_TOOL, REPLY and OUTCOME_UNKNOWN."""

    content: str
    ok: bool = True


Answer = Approved | Denied | Answered

ANSWERS: dict[InterruptKind, tuple[type[Answer], ...]] = {
    InterruptKind.APPROVAL: (Approved, Denied),
    InterruptKind.CLIENT_TOOL: (Answered, Denied),
    InterruptKind.REPLY: (Answered, Denied),
    InterruptKind.OUTCOME_UNKNOWN: (Approved, Answered, Denied),
}


def interrupt_id(run_id: str, step: int, call: ToolCall, kind: InterruptKind, asked: int) -> str:
    """Returns an id that another call, other arguments or a later question do not share."""
    about = [run_id, step, call.call_id, call.name, call.arguments_json, kind.value, asked]
    return "int_" + hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
