"""What kinds of tasks a fleet gets, and how often."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.chat_training.held_out import HARD
from scripts.router_evaluation.curve import Floats
from scripts.router_evaluation.tasks import CATEGORIES, SIMPLE

# The nine turns of `fleet demo`, one by one.
DEMO = {
    "chat": 2,
    "arithmetic": 1,
    "reference": 1,
    "lookup": 1,
    "time": 1,
    "conversion": 1,
    "two_tools": 1,
    "no_tool": 1,
}
MIXES: Mapping[str, Mapping[str, float]] = {
    "demo": DEMO,
    "few hard": {**dict.fromkeys(SIMPLE, 0.9 / 6), **dict.fromkeys(HARD, 0.1 / 5)},
    "single questions": dict.fromkeys(
        [category for category in CATEGORIES if category != "reference"], 1.0
    ),
    "all kinds alike": dict.fromkeys(CATEGORIES, 1.0),
    "half hard": {**dict.fromkeys(SIMPLE, 0.5 / 6), **dict.fromkeys(HARD, 0.5 / 5)},
}


def mix_weights(categories: Sequence[str], mix: Mapping[str, float]) -> Floats:
    """One weight a task: each category's part of the mix, shared evenly by its tasks."""
    counts = Counter(categories)
    return np.array([mix.get(category, 0.0) / counts[category] for category in categories])
