"""Which model answers this step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from orchestrator.domain.agents import Agent
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.messages import Message
from orchestrator.domain.routing import NEW_TOKENS, Demand, tokens_of
from orchestrator.domain.runs import Run
from orchestrator.model_calls.router import NOTHING_KNOWN, LiveModels, Router
from orchestrator.ports.models import RequestClassifier

_SHUN_S = 2.0


class ModelChoice:
    """Routes a run's first step; later steps stay with the model while it answers."""

    def __init__(
        self,
        classifier: RequestClassifier,
        catalogue: Catalogue,
        live: LiveModels = NOTHING_KNOWN,
    ) -> None:
        self._router = Router(classifier, catalogue, live)
        self._catalogue = catalogue
        self._shunned: dict[str, float] = {}

    async def choose(
        self, run: Run, agent: Agent, messages: Sequence[Message]
    ) -> tuple[ModelEntry, RouteDecided | None]:
        """Returns the model, and the decision where one had to be taken.

        Raises:
            Unavailable: MODEL_UNAVAILABLE, the router or every model that could.
        """
        entry, shunned = self._catalogue.get(run.model), self._shunned_now()
        if entry is not None and not {entry.name} & {*shunned, *self._router.away()}:
            return entry, None
        (decided,) = await self._router.route(
            [run.input], [_demand(agent, messages)], agent.spec.policy, away=shunned
        )
        return self._catalogue[decided.model], decided

    def shun(self, model: str) -> None:
        """Leaves a model that failed alone for a moment."""
        self._shunned[model] = time.monotonic() + _SHUN_S

    def _shunned_now(self) -> Mapping[str, str]:
        now = time.monotonic()
        return {name: "failed a moment ago" for name, end in self._shunned.items() if end > now}


def _demand(agent: Agent, messages: Sequence[Message]) -> Demand:
    """Older turns can be left out of the prompt."""
    spec = agent.spec
    calls = spec.tools or spec.client_tools or spec.agents or spec.handovers
    needs = {Capability.CHAT} | ({Capability.TOOLS} if calls else set())
    least = len(spec.system_prompt) + len(messages[-1].content if messages else "")
    return Demand(
        capabilities=needs,
        prompt_tokens=tokens_of(max(least, sum(len(message.content) for message in messages))),
        new_tokens=spec.sampling.max_tokens or NEW_TOKENS,
        least_prompt_tokens=tokens_of(least),
    )
