"""Scores of an exported model on held-out conversations, turn by turn.

Every assistant turn is asked for with the right history before it, so one mistake counts once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .conversation import Conversation
from .held_out import Scores
from .template import Message, parse_tool_calls, render

Answer = Callable[[Sequence[str]], list[str]]
_AT_ONCE = 128


@dataclass(frozen=True)
class Question:
    category: str
    prompt: str
    expected: str
    is_call: bool


@dataclass(frozen=True)
class Miss:
    category: str
    asked: str
    expected: str
    written: str


def _written(message: Message) -> str:
    """What the assistant writes for this message, without its end of turn."""
    text = render([message])
    return text.removeprefix("<|im_start|>assistant\n").removesuffix("<|im_end|>\n")


def questions(conversation: Conversation) -> list[Question]:
    messages: list[Message] = []
    if conversation.system:
        messages.append({"role": "system", "content": conversation.system})
    found = []
    for exchange in conversation.exchanges:
        for message in exchange.messages:
            if message["role"] == "assistant":
                prompt = render(messages, conversation.tools, add_generation_prompt=True)
                is_call = "tool_calls" in message
                found.append(Question(exchange.category, prompt, _written(message), is_call))
            messages.append(message)
    return found


def is_right(question: Question, written: str) -> bool:
    if question.is_call:
        expected, calls = parse_tool_calls(question.expected), parse_tool_calls(written)
        return calls == expected
    return written.strip() == question.expected


def evaluate(conversations: Sequence[Conversation], answer: Answer) -> tuple[Scores, list[Miss]]:
    asked = [question for conversation in conversations for question in questions(conversation)]
    scores, misses = Scores(), []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        written = answer([question.prompt for question in part])
        for question, text in zip(part, written, strict=True):
            right = is_right(question, text)
            scores.add(question.category, is_call=question.is_call, right=right)
            if not right:
                tail = question.prompt[-300:]
                misses.append(Miss(question.category, tail, question.expected, text))
    return scores, misses
