"""Which model answers this step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.agents import Agent
from orchestrator.domain.catalogue import Capability, Catalogue, ModelEntry
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.messages import Message
from orchestrator.domain.routing import NEW_TOKENS, Demand, tokens_of
from orchestrator.domain.runs import Run
from orchestrator.model_calls.router import NOTHING_KNOWN, LiveModels, Router
from orchestrator.ports.models import RequestClassifier


class ModelChoice:
    """Routes a run's first step; later steps stay with the model while it answers.

    Under a cascade a smaller model's answers are checked at every step, so each is routed.
    """

    def __init__(
        self,
        classifier: RequestClassifier,
        catalogue: Catalogue,
        live: LiveModels = NOTHING_KNOWN,
    ) -> None:
        self._router = Router(classifier, catalogue, live)
        self._catalogue = catalogue

    async def choose(
        self, run: Run, agent: Agent, messages: Sequence[Message], failed: Mapping[str, str]
    ) -> tuple[ModelEntry, RouteDecided | None]:
        """Returns the model, and the decision where one had to be taken.

        `failed` are the models that this step tried, and why each is to be left out, after
        "it is".

        Raises:
            Unavailable: MODEL_UNAVAILABLE, the router or every model that could.
        """
        entry, away = self._catalogue.get(run.model), {**failed, **self._router.away()}
        stays = entry is not None and entry.name not in away
        if entry is not None and stays and not agent.spec.policy.cascade:
            return entry, None
        (decided,) = await self._router.route(
            [run.input], [_demand(agent, messages)], agent.spec.policy, away=failed
        )
        if (
            entry is not None
            and stays
            and not (decided.escalate_to and decided.model == entry.name)
        ):
            return entry, None
        left = dict.fromkeys([run.model, *failed])
        whys = [f"{name} is {away[name]}" for name in left if name in away]
        reason = "; ".join([*whys, decided.reason])
        return self._catalogue[decided.model], decided.model_copy(update={"reason": reason})


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
