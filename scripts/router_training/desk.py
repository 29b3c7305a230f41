"""Tasks of the desk: questions of the chat models' conversations, each with its right answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scripts.chat_training.conversation import Conversation, draw_conversation
from scripts.chat_training.engine import Engine
from scripts.chat_training.evaluation import Question, is_right, questions
from scripts.chat_training.held_out import BEYOND_SMALL
from scripts.chat_training.toolset import built_in_tools
from scripts.router_training.requests import TRAIN, LabelledRequest
from scripts.router_training.wording import is_held_out, wording

_EXCHANGES = 4
_MOST_DRAWS = 40_000
_AT_ONCE = 256
T = TypeVar("T")


@dataclass(frozen=True)
class DeskTask:
    """It is done when every turn is right: the tool calls' names and arguments, and the text."""

    category: str
    text: str
    """What the user says now: all that the router reads."""
    turns: tuple[Question, ...]
    """What the model is asked for, one after the other, with the right history before each."""


def desk_tasks(conversation: Conversation) -> list[DeskTask]:
    """One for each exchange."""
    asked = iter(questions(conversation))
    tasks = []
    for exchange in conversation.exchanges:
        turns = sum(message["role"] == "assistant" for message in exchange.messages)
        text = str(exchange.messages[0]["content"])
        tasks.append(DeskTask(exchange.category, text, tuple(next(asked) for _ in range(turns))))
    return tasks


def draw_training_tasks(count: int) -> list[DeskTask]:
    """From the seeds of training, half of them beyond the small model; no two of one text.

    Wordings that `is_held_out` names are left out. Fewer if there are no more.
    """
    left = {False: count // 2, True: count // 2}
    tools, found = built_in_tools(), dict[str, DeskTask]()
    for index in range(_MOST_DRAWS):
        if not any(left.values()):
            break
        drawn = draw_conversation(f"train/router/{index}", exchanges=_EXCHANGES, tools=tools)
        for task in desk_tasks(drawn):
            beyond = task.category in BEYOND_SMALL
            if left[beyond] and task.text not in found and not is_held_out(wording(task.text)):
                left[beyond] -= 1
                found[task.text] = task
    return [*found.values()]


def label(tasks: Sequence[DeskTask], small: Engine) -> list[LabelledRequest]:
    """Simple is what the small model does, moderate what it fails or was never taught."""
    taught = [task for task in tasks if task.category not in BEYOND_SMALL]
    done = {task.text for task, right in zip(taught, do(taught, small), strict=True) if right}
    return [
        LabelledRequest(
            task.text,
            {"complexity": "simple" if task.text in done else "moderate"},
            wording(task.text),
            TRAIN,
        )
        for task in tasks
    ]


def do(tasks: Sequence[DeskTask], engine: Engine) -> list[bool]:
    """Whether each is done."""
    asked = [turn for task in tasks for turn in task.turns]
    right: list[bool] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        written = engine.answer([turn.prompt for turn in part])
        right += [is_right(turn, text) for turn, text in zip(part, written, strict=True)]
    return [all(turns) for turns in by_task(tasks, right)]


def by_task(tasks: Sequence[DeskTask], of_turns: Sequence[T]) -> Iterator[Sequence[T]]:
    """What belongs to each task's turns, of what belongs to all turns one after the other."""
    start = 0
    for task in tasks:
        yield of_turns[start : start + len(task.turns)]
        start += len(task.turns)
