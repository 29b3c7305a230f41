"""A tool call that can't be read: the model is told why, and asked once more."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.domain.chat import MalformedToolCall
from orchestrator.worker.repair import Repair
from orchestrator.worker.structured import Turn

REASON = "MALFORMED_TOOL_CALL"


def asked_again(turn: Turn, malformed: MalformedToolCall) -> Turn:
    told = (
        f"That can't be used: {malformed.detail}. Write the whole answer again, "
        "with every tool call exactly in the form that you were told."
    )
    return replace(turn, repair=Repair(malformed.said, told))
