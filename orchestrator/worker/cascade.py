"""Trying a smaller model first: its answer counts when it passes a check.

Nothing of it is seen before, so nothing that was streamed is ever taken back.
"""

from __future__ import annotations

import logging

from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import FinishReason, ToolSchema
from orchestrator.domain.events import AnswerChecked
from orchestrator.domain.messages import ToolCall
from orchestrator.execution.arguments import ArgumentReader, BadArguments, BadSchema
from orchestrator.execution.outside import answered_outside, unfit
from orchestrator.ports.tools import ToolRegistry
from orchestrator.worker.answering import Answer, Answering, Unfit
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.emitter import Events, Held

log = logging.getLogger(__name__)


class Cascade:
    def __init__(self, answering: Answering, tools: ToolRegistry) -> None:
        self._answering = answering
        self._tools = tools
        self._arguments = ArgumentReader()

    async def tried(
        self, attempt: Attempt, small: ModelEntry, large: ModelEntry, events: Events
    ) -> Answer | None:
        """Returns the answer of `small`, told to `events`, or None: `large` is to be asked.

        Raises:
            GivenUp: BUDGET, `large` can't be asked any more.
            Exhausted, InvalidInput, Unavailable: as `Answering.answer`.
        """
        held = Held(events)
        answer: Answer | None = None
        try:
            answer = await self._answering.answer(attempt, small, held, trial=True)
            wrong = self._what_is_wrong(attempt, answer, small)
        except Unfit as unfit_:
            wrong = str(unfit_)
        events.put(
            AnswerChecked(
                model=small.name,
                passed=not wrong,
                reason=wrong,
                confidence=answer.finished.confidence if answer else None,
                escalated_to=large.name if wrong else "",
            )
        )
        if wrong:
            attempt.reject(small, large)
            return None
        held.release()
        return answer

    def _what_is_wrong(self, attempt: Attempt, answer: Answer, small: ModelEntry) -> str:
        """One sentence without the answer's text; empty: it passes."""
        if answer.finished.reason is FinishReason.LENGTH:
            return "it was cut short by its token limit"
        if not answer.text.strip() and not answer.calls:
            return "it says nothing"
        for call in answer.calls:
            if wrong := self._bad_call(attempt, call):
                return wrong
        sure = answer.finished.confidence
        if sure is None:
            checked = answer.calls or attempt.claim.run.output_schema_json
            return "" if checked else "it does not say how sure it is, and has no form to check"
        if sure < small.least_confidence:
            return f"it was {sure:.2f} sure, and {small.least_confidence:.2f} is asked for"
        return ""

    def _bad_call(self, attempt: Attempt, call: ToolCall) -> str:
        offered = next((tool for tool in attempt.tools if tool.name == call.name), None)
        if offered is None:
            return "it calls a tool that it was not offered"
        if self._fits(attempt, offered, call):
            return ""
        return f"the arguments of its call of {offered.name} do not fit"

    def _fits(self, attempt: Attempt, offered: ToolSchema, call: ToolCall) -> bool:
        """As strictly as who runs the call."""
        spec = self._tools.specs().get(call.name)
        if spec is None or answered_outside(attempt.agent.spec, call.name):
            return unfit(offered.parameters, call) is None
        try:
            self._arguments.read(spec, call.arguments_json)
        except BadArguments:
            return False
        except BadSchema as bad:
            log.error("%s", bad)  # noqa: TRY400 - no larger model can do better
        return True
