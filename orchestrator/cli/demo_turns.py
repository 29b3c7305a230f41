"""The conversation of `fleet demo`, and what makes an answer right."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from orchestrator.rpc.pb.fleet.v1 import runs_pb2

REFUSAL = "Sorry, I have no tool for that."

_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, the tools that must be called for it, and what the answer must hold.

    `repeats` is a pattern: what it matches in a tool's result must be in the answer. The calls
    of a `parallel` turn are made in one step.
    """

    question: str
    tools: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    repeats: str = ""
    parallel: bool = False
    refused: bool = False


TURNS = (
    Turn("Hello!"),
    Turn("What is 437 * 12?", ("calculator",), ("5244",)),
    Turn("And twice that?", ("calculator",), ("10488",)),
    Turn("Where is my order A1042?", ("lookup",), ("shipped",)),
    Turn("What time is it in Paris?", ("current_time",), repeats=r"\d\d:\d\d"),
    Turn("How many miles are 5 kilometers?", ("convert_units",), ("3.1069",)),
    Turn(
        "What is 12 + 30 and how much is P05?",
        ("calculator", "lookup"),
        ("42", "235"),
        parallel=True,
    ),
    Turn("Write me a poem.", refused=True),
    Turn("Thank you!"),
)


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    arguments: str
    step: int


@dataclass(slots=True)
class Told:
    """What one turn's events said."""

    calls: list[Call] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    deltas: int = 0
    finished: runs_pb2.Finished = field(default_factory=runs_pb2.Finished)
    run_id: str = ""

    def add(self, event: runs_pb2.RunEvent) -> None:
        self.run_id = event.run_id
        match event.WhichOneof("payload"):
            case "tool_call_requested":
                call = event.tool_call_requested.call
                self.calls.append(Call(call.name, call.arguments_json, event.step))
            case "tool_call_finished":
                done = event.tool_call_finished
                (self.results if done.ok else self.failures).append(done.content)
            case "text_delta":
                self.deltas += 1
            case "finished":
                self.finished = event.finished

    @property
    def tools(self) -> list[str]:
        return [call.tool for call in self.calls]

    @property
    def parallel(self) -> bool:
        """Whether several calls were made, all in one step."""
        return len(self.calls) > 1 and len({call.step for call in self.calls}) == 1

    @property
    def refused(self) -> bool:
        return not self.calls and self.finished.result.startswith(REFUSAL)


def judge(turn: Turn, told: Told) -> str:
    """Says what is wrong with an answer; nothing when it is right."""
    answer = told.finished.result
    if told.finished.state != runs_pb2.RUN_STATE_COMPLETED:
        return f"the run did not complete: {told.finished.error.message}"
    in_order = sorted if turn.parallel else list
    if in_order(told.tools) != in_order(turn.tools):
        return f"expected the tools {list(turn.tools)}, the model called {told.tools}"
    if turn.parallel and not told.parallel:
        return f"expected the calls of {list(turn.tools)} in one step, they came one by one"
    if told.failures:
        return f"a tool failed: {told.failures[0]}"
    if turn.refused and not told.refused:
        return f"expected a refusal, {REFUSAL!r}"
    if missing := [text for text in _wanted(turn, told) if not _holds(answer, text)]:
        return f"expected {missing[0]!r} in the answer"
    known = _numbers(" ".join([turn.question, *told.results, *(c.arguments for c in told.calls)]))
    if invented := _numbers(answer) - known:
        return f"the answer says {min(invented)}, which no tool said"
    if not told.deltas:
        return "expected the answer to be streamed"
    return ""


def _wanted(turn: Turn, told: Told) -> list[str]:
    read = re.search(turn.repeats, " ".join(told.results)) if turn.repeats else None
    return [*turn.holds, *([read[0]] if read else [])]


def _holds(answer: str, text: str) -> bool:
    """Numbers are compared as numbers: 42 is not in 420."""
    numbers = _numbers(text) if _NUMBER.fullmatch(text) else set()
    return numbers <= _numbers(answer) if numbers else text in answer


def _numbers(text: str) -> set[Decimal]:
    return {Decimal(number.replace(",", "")) for number in _NUMBER.findall(text)}
