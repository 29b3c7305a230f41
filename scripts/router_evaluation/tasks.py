"""Tasks that nothing here was trained on, each with what a right answer is."""

import random
from collections.abc import Set
from dataclasses import dataclass

from scripts.chat_training.conversation import draw_conversation
from scripts.chat_training.held_out import HARD
from scripts.chat_training.toolset import built_in_tools
from scripts.router_training.desk import DeskTask, desk_tasks
from scripts.router_training.wording import wording

SIMPLE = ("arithmetic", "conversion", "time", "lookup", "chat", "no_tool")
CATEGORIES = (*SIMPLE, *HARD)
LONGEST_CONVERSATION = 4
_MOST_DRAWS = 100_000


@dataclass(frozen=True)
class HeldOutTask:
    task: DeskTask
    new_wording: bool
    """Whether the router was trained on no question of this wording."""


def draw_tasks(count: int, *, seed: int, texts: Set[str], wordings: Set[str]) -> list[HeldOutTask]:
    """As many of each category, half of them in new wordings; fewer where there are no more.

    `texts` and `wordings` are those of the router's training: no such text is drawn, and none
    twice. The seeds' names begin with another word than those of any training.
    """
    each = max(1, count // (2 * len(CATEGORIES)))
    left = {(category, new): each for category in CATEGORIES for new in (False, True)}
    tools, found, seen = built_in_tools(), list[HeldOutTask](), set(texts)
    for index in range(_MOST_DRAWS):
        if not any(left.values()):
            break
        name = f"held-out/router/{seed}/{index}"
        length = 1 + random.Random(name).randrange(LONGEST_CONVERSATION)  # noqa: S311
        conversation = draw_conversation(name, exchanges=length, tools=tools)
        last = conversation.exchanges[-1]
        text = str(last.messages[0]["content"])
        new = wording(text) not in wordings
        if left.get((last.category, new)) and text not in seen:
            left[last.category, new] -= 1
            seen.add(text)
            found.append(HeldOutTask(desk_tasks(conversation)[-1], new))
    return found
