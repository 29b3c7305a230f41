"""Which model answers a request: a pure function of what is known about both.

`decide` drops the models that can't, estimates each other one's quality, cost and latency, and
takes the highest score under the policy (`scoring`); a cheaper one may be tried before it
(`escalation`).
"""

from orchestrator.domain.routing.decision import decide
from orchestrator.domain.routing.demand import (
    CHARACTERS_PER_TOKEN,
    NEW_TOKENS,
    Classification,
    Demand,
    tokens_of,
)
from orchestrator.domain.routing.scoring import GOOD_ENOUGH
from orchestrator.domain.routing.signals import UNMEASURED, ModelSignals, crowding

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "GOOD_ENOUGH",
    "NEW_TOKENS",
    "UNMEASURED",
    "Classification",
    "Demand",
    "ModelSignals",
    "crowding",
    "decide",
    "tokens_of",
]
