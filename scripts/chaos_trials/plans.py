"""The workload: what a run is to do is written in its input, and the scripted model plays it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from orchestrator.adapters.scripted_models import Turn
from orchestrator.domain.chat import ChatRequest, ToolSchema
from orchestrator.domain.messages import Role
from orchestrator.domain.tools import Effect, ToolSpec

_ARGUMENTS = {
    "type": "object",
    "properties": {"tag": {"type": "string"}, "sleep_ms": {"type": "integer"}},
    "required": ["tag", "sleep_ms"],
}
TOOLS = {
    effect.value: ToolSpec(
        ToolSchema(effect.value, f"writes to the ledger, {effect.value}", _ARGUMENTS),
        effect=effect,
        timeout_s=120.0,
    )
    for effect in Effect
}


@dataclass(frozen=True, slots=True)
class Plan:
    """`steps`: the tools of each step; a last step answers. `tag` is unique among all plans."""

    tag: str
    steps: tuple[tuple[str, ...], ...] = ()
    words: int = 3
    sleep_ms: int = 0

    @property
    def text(self) -> str:
        return json.dumps(
            {"tag": self.tag, "steps": self.steps, "words": self.words, "sleep_ms": self.sleep_ms}
        )

    @property
    def answer(self) -> str:
        return f"done {self.tag}"

    def tag_of(self, step: int, number: int) -> str:
        """What the call `number` of a step writes to the ledger; both count from 1."""
        return f"{self.tag}/{step}/{number}"


@dataclass(slots=True)
class Plans:
    """Plans of a few steps with all kinds of tools, drawn at random."""

    rng: random.Random
    prefix: str
    made: int = 0
    kinds: tuple[str, ...] = tuple(TOOLS)
    sleeps_ms: tuple[int, ...] = (0, 0, 5, 20)

    def draw(self) -> Plan:
        self.made += 1
        steps = tuple(
            tuple(self.rng.choices(self.kinds, k=self.rng.randint(1, 3)))
            for _ in range(self.rng.randint(1, 2))
        )
        words = self.rng.randint(1, 6)
        return Plan(f"{self.prefix}-{self.made}", steps, words, self.rng.choice(self.sleeps_ms))


def play(request: ChatRequest) -> Turn:
    """The next turn of the plan that the newest user message holds."""
    asked = max(i for i, m in enumerate(request.messages) if m.role is Role.USER)
    given = json.loads(request.messages[asked].content)
    plan = Plan(**{**given, "steps": tuple(map(tuple, given["steps"]))})
    done = sum(m.role is Role.ASSISTANT for m in request.messages[asked:])
    thoughts = [f"word{number} " for number in range(plan.words)]
    if done >= len(plan.steps):
        return [*thoughts, plan.answer]
    calls = [
        _call(name, {"tag": plan.tag_of(done + 1, number), "sleep_ms": plan.sleep_ms})
        for number, name in enumerate(plan.steps[done], 1)
    ]
    return [*thoughts, *calls]


def _call(name: str, arguments: dict[str, object]) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"
