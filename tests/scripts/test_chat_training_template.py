"""The chat template, which the trained models carry with them."""

import json
from typing import Any

import pytest

from scripts.chat_training.template import parse_tool_calls, render, tool_call

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "calculator", "description": "Sums.", "parameters": {"type": "object"}},
}
CALL = tool_call("calculator", {"expression": "437 * 12"}, call_id="call_1")


def test_tools_stand_in_the_system_turn() -> None:
    text = render([{"role": "system", "content": "Be brief."}], [TOOL])

    listed = f"Tools:\n<tools>\n{json.dumps(TOOL)}\n</tools>"
    assert text == f"<|im_start|>system\nBe brief.\n\n{listed}<|im_end|>\n"


def test_without_tools_there_is_no_tools_block() -> None:
    text = render([{"role": "user", "content": "Hello!"}], add_generation_prompt=True)

    assert text == "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"


def test_a_tool_list_makes_a_system_turn_of_its_own() -> None:
    text = render([{"role": "user", "content": "Hello!"}], [TOOL])

    assert text.startswith("<|im_start|>system\nTools:\n<tools>\n")
    assert text.endswith("<|im_start|>user\nHello!<|im_end|>\n")


def test_a_call_is_written_in_hermes_form() -> None:
    text = render([{"role": "assistant", "content": None, "tool_calls": [CALL]}])

    assert text == (
        "<|im_start|>assistant\n<tool_call>\n"
        '{"name": "calculator", "arguments": {"expression": "437 * 12"}}\n'
        "</tool_call><|im_end|>\n"
    )


def test_arguments_may_be_a_string_or_an_object() -> None:
    function = {"name": "calculator", "arguments": {"expression": "437 * 12"}}
    with_object = {"id": "call_1", "type": "function", "function": function}

    as_object = render([{"role": "assistant", "content": "", "tool_calls": [with_object]}])

    assert as_object == render([{"role": "assistant", "content": "", "tool_calls": [CALL]}])


def test_text_beside_calls_and_several_calls_are_on_lines_of_their_own() -> None:
    text = render([{"role": "assistant", "content": "One moment.", "tool_calls": [CALL, CALL]}])

    assert text.count("\n<tool_call>\n") == 2
    assert text.startswith("<|im_start|>assistant\nOne moment.\n<tool_call>")


def test_a_result_is_a_turn_of_the_tool() -> None:
    text = render([{"role": "tool", "tool_call_id": "call_1", "content": "5244"}])

    assert text == "<|im_start|>tool\n<tool_response>\n5244\n</tool_response><|im_end|>\n"


def test_other_scripts_are_not_escaped() -> None:
    call = tool_call("lookup", {"key": "Zürich 東京"}, call_id="call_1")

    assert "Zürich 東京" in render([{"role": "assistant", "content": "", "tool_calls": [call]}])


@pytest.mark.parametrize(
    "body", ["{", '"calculator"', '{"name": "calculator"}', "[]", '{"arguments": {}}']
)
def test_a_malformed_call_is_left_out(body: str) -> None:
    good = '<tool_call>\n{"name": "lookup", "arguments": {"key": "P07"}}\n</tool_call>'

    calls = parse_tool_calls(f"<tool_call>\n{body}\n</tool_call>\n{good}")

    assert calls == [("lookup", {"key": "P07"})]
