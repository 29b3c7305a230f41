"""Tasks of one's own: a JSON object a line.

    {"prompt": "…", "small": 1, "large": 1}
    {"prompt": "…", "expected": {"calls": [{"name": "calculator", "arguments": {…}}]}}
    {"prompt": "…", "expected": {"text": "…"}, "messages": [{"role": "user", …}, …]}

`prompt` is the user's message, which is all that the router reads. `small` and `large` are the
models' scores, from 0 to 1, and no model is asked; `confidence`, from 0 to 1, may say how sure
the small one was. Else `expected` says what is right: the text, or the calls' names and
arguments, in order; both models are asked with `messages` before the prompt, and `tools` in
OpenAI's form (without it: those of the built-in agent). `kind` groups tasks, `weight` counts
one as several.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.chat_training.evaluation import Question
from scripts.chat_training.template import Message, render, tool_call
from scripts.chat_training.toolset import built_in_tools
from scripts.router_evaluation.answers import Scored
from scripts.router_training.desk import DeskTask

_FIELDS = {
    "prompt",
    "small",
    "large",
    "confidence",
    "expected",
    "messages",
    "tools",
    "kind",
    "weight",
}


class InvalidTaskError(ValueError):
    """A line that cannot be used; the message starts with file:line."""


@dataclass(frozen=True)
class OwnTask:
    task: DeskTask
    weight: float
    ready: tuple[Scored, Scored] | None
    """The scores of the small and the large model."""


def read_tasks(path: Path) -> list[OwnTask]:
    """Raises InvalidTaskError; OSError."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            found.append(_task(f"{path}:{number}", line))
    if not found:
        raise InvalidTaskError(f"{path}: there is no task in it; see --help")
    if len({one.ready is None for one in found}) > 1:
        raise InvalidTaskError(f"{path}: give the scores small and large in all lines or in none")
    return found


def _task(place: str, line: bytes) -> OwnTask:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidTaskError(f"{place}: not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidTaskError(f"{place}: want a JSON object, found {type(fields).__name__}")
    if unknown := sorted(fields.keys() - _FIELDS):
        raise InvalidTaskError(
            f"{place}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}"
        )
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidTaskError(f"{place}: prompt must be a text that is not blank, not {prompt!r}")
    weight = _number(place, fields, "weight", 1.0, most=float("inf"))
    kind = str(fields.get("kind", "own"))
    if "small" in fields or "large" in fields:
        small = _number(place, fields, "small")
        large = _number(place, fields, "large")
        sure = _number(place, fields, "confidence") if "confidence" in fields else None
        return OwnTask(DeskTask(kind, prompt, ()), weight, (Scored(small, sure), Scored(large)))
    return OwnTask(DeskTask(kind, prompt, (_question(place, fields, kind),)), weight, None)


def _question(place: str, fields: Mapping[str, Any], kind: str) -> Question:
    expected = fields.get("expected")
    if not isinstance(expected, dict) or len(expected.keys() & {"text", "calls"}) != 1:
        raise InvalidTaskError(
            f"{place}: want the scores small and large, or expected with either text or calls, "
            f"not {expected!r}"
        )
    messages: list[Message] = [*fields.get("messages", ())]
    tools = fields.get("tools", [tool.schema for tool in built_in_tools()])
    user = {"role": "user", "content": fields["prompt"]}
    prompt = render([*messages, user], tools, add_generation_prompt=True)
    if "text" in expected:
        return Question(kind, prompt, str(expected["text"]).strip(), is_call=False)
    try:
        calls = [
            tool_call(call["name"], call["arguments"], call_id="") for call in expected["calls"]
        ]
    except (KeyError, TypeError):
        raise InvalidTaskError(
            f"{place}: expected.calls must be a list of objects with name and arguments"
        ) from None
    turn = render([{"role": "assistant", "content": "", "tool_calls": calls}])
    return Question(kind, prompt, turn, is_call=True)


def _number(
    place: str,
    fields: Mapping[str, Any],
    name: str,
    default: float | None = None,
    *,
    most: float = 1.0,
) -> float:
    value = fields.get(name, default)
    known = isinstance(value, int | float)
    if not known or not 0 <= float(value) <= most:
        bounds = f"from 0 to {most:g}" if most < float("inf") else "0 or more"
        raise InvalidTaskError(f"{place}: {name} must be a number {bounds}, not {value!r}")
    return float(value)
