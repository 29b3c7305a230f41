"""Which model answers this step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set

from orchestrator.domain.agents import Agent
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.messages import Message
from orchestrator.domain.routing import Demand, decide
from orchestrator.domain.runs import Run
from orchestrator.ports.models import RequestClassifier

_CHARACTERS_PER_TOKEN = 3
_SHUN_S = 2.0


class ModelChoice:
    """Routes a run's first step; later steps stay with the model while it answers."""

    def __init__(
        self,
        classifier: RequestClassifier,
        catalogue: Catalogue,
        unloaded: Callable[[], Set[str]] = frozenset,
    ) -> None:
        self._classifier = classifier
        self._catalogue = catalogue
        self._unloaded = unloaded
        self._shunned: dict[str, float] = {}

    async def choose(
        self, run: Run, agent: Agent, messages: Sequence[Message]
    ) -> tuple[ModelEntry, RouteDecided | None]:
        """Returns the model, and the decision where one had to be taken.

        Raises:
            Unavailable: MODEL_UNAVAILABLE, the router or every model that could.
        """
        entry = self._catalogue.get(run.model)
        if entry is not None and not self._is_away(entry.name):
            return entry, None
        (classification,) = await self._classifier.classify([run.input])
        decided = decide(
            _demand(agent, messages),
            classification,
            catalogue=self._catalogue,
            policy=agent.spec.policy,
            unready={name for name in self._catalogue if self._is_away(name)},
        )
        return self._catalogue[decided.model], decided

    def shun(self, model: str) -> None:
        """Leaves a model that failed alone for a moment."""
        self._shunned[model] = time.monotonic() + _SHUN_S

    def _is_away(self, name: str) -> bool:
        return self._shunned.get(name, 0.0) > time.monotonic() or name in self._unloaded()


def _demand(agent: Agent, messages: Sequence[Message]) -> Demand:
    """The least that the step needs: older turns can be left out of the prompt."""
    spec = agent.spec
    calls = spec.tools or spec.client_tools or spec.agents or spec.handovers
    needs = {Capability.CHAT} | ({Capability.TOOLS} if calls else set())
    least = len(agent.spec.system_prompt) + len(messages[-1].content if messages else "")
    return Demand(
        capabilities=needs,
        prompt_tokens=least // _CHARACTERS_PER_TOKEN,
        new_tokens=agent.spec.sampling.max_tokens or 64,
    )
