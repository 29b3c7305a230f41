"""One attempt at a step: what its model is asked, and what that took."""

from __future__ import annotations

from orchestrator.domain.agents import Agent
from orchestrator.domain.allowance import Allowance, left_of
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.chat import ChatRequest, MalformedToolCall, Meter, ToolSchema
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message
from orchestrator.domain.runs import CallOutcome, ModelCall, Usage, usage_of
from orchestrator.domain.work import Claim
from orchestrator.worker.context import excess_chars, fit
from orchestrator.worker.malformed import REASON as MALFORMED
from orchestrator.worker.structured import Turn


class GivenUp(Exception):
    """The run fails, and is charged for what the step took."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Attempt:
    """`messages` is what of the conversation the model has room for; `rejected` are the models
    whose answers were checked in vain.
    """

    def __init__(
        self,
        claim: Claim,
        agent: Agent,
        messages: tuple[Message, ...],
        tools: tuple[ToolSchema, ...],
    ) -> None:
        self.claim = claim
        self.agent = agent
        self.messages = self._whole = messages
        self.tools = tools
        self._asked: list[tuple[ModelEntry, Meter]] = []
        self._blamed = False
        self._excess = 0
        self.rejected: set[str] = set()

    def ask(self, turn: Turn, entry: ModelEntry, *, confidence: bool = False) -> ChatRequest:
        """Raises Exhausted BUDGET: the run has nothing left."""
        request = ChatRequest(
            model=entry.name,
            messages=turn.messages(self.messages),
            tools=turn.tools,
            sampling=self.agent.spec.sampling,
            allowance=self._allowance(entry),
            output=turn.output,
            tenant=self.claim.run.tenant,
            session_id=self.claim.run.session_id,
            confidence=confidence,
        )
        self._asked.append((entry, request.meter))
        return request

    def forgive(self) -> None:
        """The newest answer is not charged."""
        self._asked.pop()

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        """What each answer took, also the one that is on its way."""
        return self.calls_ending(CallOutcome.USED)

    def calls_ending(self, newest: CallOutcome) -> tuple[ModelCall, ...]:
        """The same, where the newest answer came to this; those before it were not used."""
        last = len(self._asked) - 1
        return tuple(
            entry.call(
                meter.usage,
                self._outcome(entry, meter, newest if number == last else CallOutcome.REJECTED),
            )
            for number, (entry, meter) in enumerate(self._asked)
        )

    def _outcome(self, entry: ModelEntry, meter: Meter, outcome: CallOutcome) -> CallOutcome:
        if meter.cached:
            return CallOutcome.CACHED
        return CallOutcome.REJECTED if entry.name in self.rejected else outcome

    @property
    def spent(self) -> Usage:
        return usage_of(self.calls)

    def _allowance(self, entry: ModelEntry) -> Allowance:
        run = self.claim.run
        return left_of(run.model_copy(update={"usage": run.usage + self.spent}), entry)

    def reject(self, entry: ModelEntry, larger: ModelEntry) -> None:
        """The answers of this model do not count, and are paid; `larger` is to be asked.

        Raises:
            GivenUp: BUDGET, there is nothing left for it.
        """
        self.rejected.add(entry.name)
        if self._allowance(larger).spent_by(Usage()):
            raise GivenUp(
                "BUDGET", f"budget ran out before {larger.name} was asked instead of {entry.name}"
            )

    def blame(self, malformed: MalformedToolCall, entry: ModelEntry) -> None:
        """Notes that the newest answer has a malformed call.

        Raises:
            GivenUp: it is the step's second, or took all of the budget.
        """
        if self._allowance(entry).spent_by(Usage()):
            raise GivenUp("BUDGET", f"budget ran out while {entry.name} wrote a tool call")
        if self._blamed:
            twice = f"{entry.name} wrote a tool call that can't be read, and so again when told"
            raise GivenUp(MALFORMED, f"{twice}: {malformed.detail}")
        self._blamed = True

    def shorten(self, turn: Turn, error: InvalidInput) -> bool:
        """Leaves more out after the model refused the length; False when nothing more may go."""
        before = self.messages
        self._excess += excess_chars(turn.messages(before), error)
        self.messages = fit(self._whole, self._excess)
        return self.messages != before
