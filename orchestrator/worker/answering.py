"""Getting a step's answer from a model, in as many turns as that takes."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import (
    ChatFinished,
    ChatRequest,
    MalformedToolCall,
    TextChunk,
    ToolCallChunk,
)
from orchestrator.domain.errors import Exhausted, Internal, InvalidInput, Unavailable
from orchestrator.domain.events import StepRestarted, TextDelta
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.work import Claim
from orchestrator.ports.models import LanguageModel
from orchestrator.worker.attempt import Attempt, GivenUp
from orchestrator.worker.emitter import Events
from orchestrator.worker.malformed import REASON as MALFORMED
from orchestrator.worker.malformed import asked_again
from orchestrator.worker.structured import InvalidOutput, Structured, Turn


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    calls: tuple[ToolCall, ...]
    finished: ChatFinished


class Unfit(Exception):
    """The model's first try is not what the run wants; the message says why, without its text."""


class Answering:
    def __init__(self, language: LanguageModel) -> None:
        self._language = language

    async def answer(
        self, attempt: Attempt, entry: ModelEntry, emitter: Events, *, trial: bool = False
    ) -> Answer:
        """Asks until the answer is what the run wants, or the model has had its chances.

        In a `trial` it says how sure it is, and nothing is mended.

        Raises:
            Unfit: in a trial, for what would have to be mended.
            GivenUp: MALFORMED_TOOL_CALL, INVALID_OUTPUT, BUDGET.
            Exhausted: BUDGET, it has no room for a turn.
            InvalidInput: CONTEXT_LENGTH, the model has none; the model refuses the request.
            Unavailable: MODEL_UNAVAILABLE.
        """
        schema = attempt.claim.run.output_schema_json
        structured = Structured(schema, entry, attempt.tools) if schema else None
        turn = structured.first() if structured else Turn(tools=attempt.tools)
        while True:
            try:
                answer = await self._fitted(attempt, turn, entry, emitter, trial=trial)
            except MalformedToolCall as malformed:
                if trial:
                    raise Unfit("it wrote a tool call that can't be read") from None
                attempt.blame(malformed, entry)
                turn = asked_again(turn, malformed)
                emitter.put(StepRestarted(reason=f"{MALFORMED}: {malformed.detail}"))
                continue
            if structured is None or answer.calls:
                return answer
            try:
                judged = structured.judge(turn, answer.text, answer.finished.reason)
            except InvalidOutput as invalid:
                raise GivenUp("INVALID_OUTPUT", str(invalid)) from None
            if isinstance(judged, str):
                return replace(answer, text=judged)
            if trial and judged.last:
                raise Unfit("it does not fit the output schema")
            turn = judged
            if answer.text:
                emitter.put(StepRestarted(reason="INVALID_OUTPUT"))

    async def _fitted(
        self, attempt: Attempt, turn: Turn, entry: ModelEntry, emitter: Events, *, trial: bool
    ) -> Answer:
        """Leaves out of the conversation what the model has no room for."""
        while True:
            request = attempt.ask(turn, entry, confidence=trial)
            try:
                return await self._infer(request, attempt, emitter)
            except InvalidInput as error:
                if error.reason != "CONTEXT_LENGTH":
                    raise
                if trial:
                    raise Unfit("it has no room for the conversation") from None
                if not attempt.shorten(turn, error):
                    raise

    async def _infer(self, request: ChatRequest, attempt: Attempt, emitter: Events) -> Answer:
        text: list[str] = []
        calls: list[ToolCall] = []
        finished: ChatFinished | None = None
        try:
            async with aclosing(self._language.chat(request)) as chunks:
                async for chunk in chunks:
                    match chunk:
                        case TextChunk():
                            text.append(chunk.text)
                            emitter.put(TextDelta(text=chunk.text))
                        case ToolCallChunk():
                            calls.append(chunk.call)
                        case ChatFinished():
                            finished = chunk
                            request.meter.usage = chunk.usage
                            if chunk.cached is not None:
                                emitter.put(chunk.cached)
        except MalformedToolCall as malformed:
            request.meter.usage = malformed.usage
            raise
        except (InvalidInput, Exhausted):
            attempt.forgive()  # the model was not asked, or refused
            raise
        except Unavailable:
            attempt.forgive()  # nobody pays for what is tried again
            if text:
                emitter.put(StepRestarted(reason="MODEL_UNAVAILABLE"))
            raise
        if finished is None:
            raise Internal(f"{request.model} ended its answer without saying so")
        return Answer("".join(text), _numbered(attempt.claim, calls), finished)


def _numbered(claim: Claim, calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Gives each call an id that is unique in the run and the same when the step runs again."""
    return tuple(
        call.model_copy(update={"call_id": f"call_{claim.lease.item.step}_{number}"})
        for number, call in enumerate(calls, 1)
    )
