"""What goes to a language model and what comes back, whoever serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.domain.agents import Sampling
from orchestrator.domain.allowance import UNLIMITED, Allowance
from orchestrator.domain.events import AnswerCached
from orchestrator.domain.messages import Message, ToolCall
from orchestrator.domain.output_schema import OutputShape
from orchestrator.domain.runs import Usage


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as the model sees it. `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(slots=True)
class Meter:
    """What an answer has taken so far, for whoever stops it before `ChatFinished`.

    `cached`: it was taken for another request, which paid for it.
    """

    usage: Usage = Usage()
    cached: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`model` is the catalogue's name; messages may begin with one of role SYSTEM.

    The answer, with its prompt, stays within `allowance`. With `output` its text is to be
    JSON of that shape: no tool calls are read from it, and an engine that can is held to it.

    Who answers writes into `meter`, from when the model is asked on. `tenant` bounds what may
    be shared with other requests; requests of one `session_id` go to one replica where that
    serves its prefix cache. With `confidence` the model is asked how sure it was.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    sampling: Sampling = Sampling()
    allowance: Allowance = UNLIMITED
    output: OutputShape | None = None
    tenant: str = ""
    session_id: str = ""
    confidence: bool = False
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Text for the user, in order; never part of a tool call's syntax."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A complete tool call."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ChatFinished:
    """The last chunk. Times are in milliseconds of the caller's monotonic clock.

    `confidence` is the mean probability of the answer's tokens, None where it was not asked
    for or the provider does not tell. `cached` says that no model was asked.
    """

    reason: FinishReason
    usage: Usage  # tokens only; the cost is the catalogue's business
    prompt_ms: float = 0.0
    ttft_ms: float = 0.0
    inference_ms: float = 0.0
    confidence: float | None = None
    cached: AnswerCached | None = None


ChatChunk = TextChunk | ToolCallChunk | ChatFinished


class MalformedToolCall(Exception):
    """The model began a tool call that can't be read: a signal to the step, not to a caller.

    `said` is the whole answer up to there, with the call.
    """

    def __init__(self, detail: str, usage: Usage, said: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.usage = usage
        self.said = said
