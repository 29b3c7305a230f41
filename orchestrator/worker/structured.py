"""Getting an answer that fits the run's output schema.

Where the engine can be held to a schema, it is, as soon as there are no tools to offer; with
tools the model goes on freely until it answers, and is then asked for that answer as JSON.
Where the engine can't, the model is told the schema. Either way the text is checked, and a
text that does not fit is asked for once more, with what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import FinishReason, ToolSchema
from orchestrator.domain.messages import Message, Role
from orchestrator.domain.output_schema import OutputShape
from orchestrator.execution.outputs import BadOutput, asked_for, read_output
from orchestrator.worker.repair import Repair


@dataclass(frozen=True, slots=True)
class Turn:
    """How the model is asked this time.

    `instruction` goes to the end of the system prompt. With `output` the text has to be JSON.
    After the `last` turn the model is not asked again.
    """

    tools: tuple[ToolSchema, ...] = ()
    instruction: str = ""
    output: OutputShape | None = None
    repair: Repair | None = None
    last: bool = False

    def messages(self, own: Sequence[Message]) -> tuple[Message, ...]:
        repair = self.repair.messages if self.repair else ()
        if not self.instruction:
            return (*own, *repair)
        first = own[0] if own and own[0].role is Role.SYSTEM else None
        before = f"{first.content}\n\n" if first else ""
        system = Message(role=Role.SYSTEM, content=before + self.instruction)
        return (system, *(own[1:] if first else own), *repair)


class InvalidOutput(Exception):
    """The model did not get it right; the message says what is wrong with what it wrote."""


class Structured:
    """The turns of one step of a run that has an output schema."""

    def __init__(self, schema_json: str, entry: ModelEntry, tools: tuple[ToolSchema, ...]) -> None:
        self._schema = json.loads(schema_json)
        self._entry = entry
        self._tools = tools
        self._asked = asked_for(schema_json, entry)

    def first(self) -> Turn:
        if not self._tools:
            return Turn(instruction=self._asked, output=OutputShape(self._schema))
        if self._entry.constrains:
            return Turn(tools=self._tools)
        return Turn(tools=self._tools, instruction=self._asked)

    def judge(self, turn: Turn, text: str, reason: FinishReason) -> str | Turn:
        """Returns the answer's canonical JSON, or how to ask again.

        Raises:
            InvalidOutput: it does not fit, and was asked for often enough.
        """
        cut = reason is FinishReason.LENGTH
        try:
            return read_output(self._schema, text)
        except BadOutput as bad:
            why = f"it was cut short by its token limit: {bad}" if cut else str(bad)
        if turn.last:
            raise InvalidOutput(f"the answer of {self._entry.name} can't be used: {why}")
        if turn.output is None and self._entry.constrains:
            return Turn(output=OutputShape(self._schema), repair=Repair(text, self._asked))
        told = f"That can't be used: {why}. {'Be brief. ' if cut else ''}{self._asked}"
        shape = OutputShape(self._schema, brief=cut)
        return Turn(output=shape, repair=Repair(text, told), last=True)
