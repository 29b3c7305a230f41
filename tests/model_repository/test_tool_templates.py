"""Calls and results written back by templates that insist on what Llama's and Mistral's do."""

import importlib
import json

import pytest

from orchestrator.adapters.triton.conversation import messages_json
from orchestrator.domain.chat import ToolCallChunk
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.tool_calls import format_named
from orchestrator.tool_calls.call_ids import numbered
from orchestrator.tool_calls.writing import for_template

conversation = importlib.import_module("model_repository.chat_prompt.1.conversation")
template = importlib.import_module("model_repository.chat_prompt.1.template")

# One call a message, its arguments an object or a string that tojson would quote.
LLAMA3 = """\
{%- for message in messages %}
    {%- if "tool_calls" in message %}
        {%- if message.tool_calls | length != 1 %}{{ raise_exception("one call") }}{% endif %}
        {%- set call = message.tool_calls[0].function %}
        {%- for key, value in call.arguments | items %}{% endfor %}
        {{- '\n<assistant>{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}{{ "}" }}
    {%- else %}{{ "\n<" + message.role + ">" + message.content }}{% endif %}
{%- endfor %}"""
# Ids of nine letters or digits; after the system prompt users and answers alternate.
MISTRAL_7 = """\
{%- set turns = namespace(users=0) %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "assistant" and not message.tool_calls) %}
        {%- if (message.role == "user") != (turns.users % 2 == 0) %}
            {{- raise_exception("users and answers must alternate") }}
        {%- endif %}
        {%- set turns.users = turns.users + 1 %}
    {%- endif %}
    {%- if message.tool_calls is defined and message.tool_calls is not none %}
        {{- "\n<assistant>[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}{{ raise_exception("nine") }}{% endif %}
            {{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}
            {{- "]" if loop.last else ", " }}
        {%- endfor %}
    {%- else %}
        {%- if message.tool_call_id and message.tool_call_id | length != 9 %}
            {{- raise_exception("nine") }}
        {%- endif %}
        {{- "\n<" + message.role + ">" + message.content }}
    {%- endif %}
{%- endfor %}"""
MISTRAL_13 = """\
{%- for message in messages %}
    {{- "\n<" + message.role + ">" + message.content }}
    {%- for call in message.tool_calls or [] %}
        {%- set arguments = call.function.arguments %}
        {%- set arguments = arguments if arguments is string else arguments | tojson | safe %}
        {{- "[TOOL_CALLS]" + call.function.name + "[ARGS]" + arguments }}
    {%- endfor %}
{%- endfor %}"""

CALLS = (
    ToolCall(call_id="call_1_1", name="calculator", arguments_json='{"expression": "6 * \\"7\\""}'),
    ToolCall(call_id="call_1_2", name="lookup", arguments_json='{"key": "<Grüße & 👋>"}'),
)
TURN = (
    Message(role=Role.USER, content="Both?", run_id="run_1"),
    Message(role=Role.ASSISTANT, tool_calls=CALLS, run_id="run_1"),
    *(
        Message(role=Role.TOOL, content=name, tool_call_id=call.call_id, run_id="run_1")
        for call, name in zip(CALLS, ("42", "hello"), strict=True)
    ),
)


def rendered(source: str, tool_format: str, messages: tuple[Message, ...]) -> str:
    shaped = messages_json(for_template(messages, format_named(tool_format)))
    parsed = conversation.parse_messages(shaped)
    return str(template.render(template.compile_template(source), parsed, [], {}))


EACH = pytest.mark.parametrize(
    ("source", "tool_format"),
    [(LLAMA3, "llama3_json"), (MISTRAL_7, "mistral"), (MISTRAL_13, "mistral")],
)


@EACH
def test_calls_that_a_template_writes_are_those_that_the_parser_reads(
    source: str, tool_format: str
) -> None:
    prompt = rendered(source, tool_format, TURN)
    answers = [part.removeprefix("assistant>") for part in prompt.split("\n<")]
    read = []
    for answer in answers:
        parser = format_named(tool_format).parser(numbered())
        pieces = parser.feed(answer) + parser.close()
        read += [piece.call for piece in pieces if isinstance(piece, ToolCallChunk)]
    assert [(call.name, json.loads(call.arguments_json)) for call in read] == [
        (call.name, json.loads(call.arguments_json)) for call in CALLS
    ]


@EACH
def test_results_stand_behind_their_calls(source: str, tool_format: str) -> None:
    prompt = rendered(source, tool_format, TURN)
    found = [prompt.index(text) for text in ("calculator", "<tool>42", "<tool>hello")]
    assert found == sorted(found)


@EACH
def test_a_repair_keeps_users_and_answers_in_turn(source: str, tool_format: str) -> None:
    repair = (
        Message(role=Role.ASSISTANT, content='{"name": '),
        Message(role=Role.USER, content="That can't be used."),
    )
    assert rendered(source, tool_format, (*TURN[:1], *repair)).endswith("That can't be used.")
