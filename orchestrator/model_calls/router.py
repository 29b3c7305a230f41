"""Routing with what is known of the models at this moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.agents import ModelPolicy
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.events import RouteDecided
from orchestrator.domain.routing import (
    UNMEASURED,
    Demand,
    ModelSignals,
    decide,
)
from orchestrator.ports.models import RequestClassifier


@dataclass(frozen=True, slots=True)
class LiveModels:
    """`away` says of models that take no request now why; `signals` of one how it does."""

    away: Callable[[], Mapping[str, str]] = dict
    signals: Callable[[str], ModelSignals] = lambda _: UNMEASURED


NOTHING_KNOWN = LiveModels()


class Router:
    def __init__(
        self, classifier: RequestClassifier, catalogue: Catalogue, live: LiveModels = NOTHING_KNOWN
    ) -> None:
        self._classifier = classifier
        self._catalogue = catalogue
        self._live = live

    async def route(
        self,
        texts: Sequence[str],
        demands: Sequence[Demand],
        policy: ModelPolicy,
        *,
        away: Mapping[str, str],
    ) -> tuple[RouteDecided, ...]:
        """Decides for each text; `away` adds to what is known to be away.

        Raises: as `RequestClassifier.classify` and `decide`.
        """
        began = time.perf_counter()
        classifications = await self._classifier.classify(texts)
        gone = {**away, **self._live.away()}
        signals = {name: self._live.signals(name) for name in self._catalogue}
        decisions = [
            decide(
                demand,
                classification,
                catalogue=self._catalogue,
                policy=policy,
                away=gone,
                signals=signals,
            )
            for demand, classification in zip(demands, classifications, strict=True)
        ]
        took_ms = (time.perf_counter() - began) * 1000
        return tuple(d.model_copy(update={"route_ms": took_ms}) for d in decisions)

    def away(self) -> Mapping[str, str]:
        return self._live.away()
