"""A conversation in which the model's own turns become the history, as it is in service."""

import json
from collections.abc import Iterator, Mapping, Sequence

from .evaluation import Answer
from .template import Message, parse_tool_calls, render, tool_call
from .toolset import DEFAULTS, built_in_tools, default_system_prompt

# (question, what the tools return by argument, what the answer has to contain)
Step = tuple[str, Mapping[str, str], str]
_MOST_CALLS = 4
_NO_RECORD = json.dumps(
    {"error": "there is no record 'A9999'; orders have keys such as A1042, products such as P07"}
)


def _record(key: str) -> str:
    records = json.loads((DEFAULTS / "support_desk.json").read_text(encoding="utf-8"))
    return json.dumps(records[key])


def script() -> list[Step]:
    return [
        ("Hello!", {}, "help you"),
        ("What is 437 * 12?", {"437 * 12": "5244"}, "5244"),
        ("And twice that?", {"5244 * 2": "10488"}, "10488"),
        (
            "What time is it in Paris?",
            {"Europe/Paris": "2026-11-20 15:05 Friday Europe/Paris"},
            "15:05",
        ),
        ("And in Tokyo?", {"Asia/Tokyo": "2026-11-20 23:05 Friday Asia/Tokyo"}, "23:05"),
        ("Where is my order A1042?", {"A1042": _record("A1042")}, "2026-11-24"),
        ("Who delivers it?", {"A1042": _record("A1042")}, "DHL"),
        ("How much is P07?", {"P07": _record("P07")}, "P07"),
        (
            "What is 12 + 30 and how much is P05?",
            {"12 + 30": "42", "P05": _record("P05")},
            "12 + 30 = 42",
        ),
        (
            "Where is my order A9999?",
            {"A9999": _NO_RECORD},
            "there is no record 'A9999'",
        ),
        (
            "How many miles are 5 kilometers?",
            {"5": "3.1069 miles"},
            "5 kilometers are 3.1069 miles.",
        ),
        ("And 12?", {"12": "7.4565 miles"}, "12 kilometers are 7.4565 miles."),
        ("Write me a poem.", {}, "Sorry"),
        ("Thanks!", {}, "welcome"),
    ]


def run(steps: Sequence[Step], answer: Answer) -> Iterator[tuple[str, bool]]:
    """Lines of the conversation and, for each answer, whether it has what it must."""
    tools = [tool.schema for tool in built_in_tools()]
    messages: list[Message] = [{"role": "system", "content": default_system_prompt()}]
    for question, results, wanted in steps:
        messages.append({"role": "user", "content": question})
        yield f"user: {question}", True
        for _ in range(_MOST_CALLS):
            [text] = answer([render(messages, tools, add_generation_prompt=True)])
            calls = parse_tool_calls(text)
            if not calls:
                break
            messages.append(
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        tool_call(name, arguments, call_id=f"call_{number}")
                        for number, (name, arguments) in enumerate(calls)
                    ],
                }
            )
            for name, arguments in calls:
                argument = str(next(iter(arguments.values()), ""))
                result = results.get(argument, '{"error": "unexpected call"}')
                messages.append({"role": "tool", "content": result})
                yield f"  {name} {json.dumps(arguments)} -> {result}", argument in results
        messages.append({"role": "assistant", "content": text})
        yield f"assistant: {text}", wanted in text
