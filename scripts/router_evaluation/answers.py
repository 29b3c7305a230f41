"""What both models make of the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.chat_training.engine import Engine, Written
from scripts.chat_training.evaluation import is_right
from scripts.router_training.desk import DeskTask, by_task

_AT_ONCE = 256


@dataclass(frozen=True)
class Scored:
    """One model on one task. `confidence` is that of the answer's least sure turn."""

    score: float
    confidence: float | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0


def scores(tasks: Sequence[DeskTask], engine: Engine) -> list[Scored]:
    """1 where every turn is right, else 0; all of a part are in the engine at once."""
    asked = [turn for task in tasks for turn in task.turns]
    written: list[Written] = []
    for start in range(0, len(asked), _AT_ONCE):
        written += engine.write([turn.prompt for turn in asked[start : start + _AT_ONCE]])
    return [
        _scored(task, answers) for task, answers in zip(tasks, by_task(tasks, written), strict=True)
    ]


def _scored(task: DeskTask, answers: Sequence[Written]) -> Scored:
    right = [is_right(turn, one.text) for turn, one in zip(task.turns, answers, strict=True)]
    return Scored(
        score=float(all(right)),
        confidence=min(one.confidence for one in answers),
        prompt_tokens=sum(one.prompt_tokens for one in answers),
        new_tokens=sum(one.new_tokens for one in answers),
    )
