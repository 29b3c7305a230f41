"""What providers are sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.adapters.anthropic_models.parameters import parameters as of_messages
from orchestrator.adapters.openai_models.parameters import of_openai
from orchestrator.adapters.openai_models.parameters import parameters as of_completions
from orchestrator.adapters.openai_models.structured import response_format
from orchestrator.domain.agents import Sampling
from orchestrator.domain.chat import ChatRequest
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.domain.output_schema import OutputShape
from tests.orchestrator.adapters.providers.dialects import (
    ASKED,
    CALCULATOR,
    DIALECTS,
    MODEL,
    Dialect,
    ask,
)
from tests.scripted_http import ScriptedServer

CALLS = (
    ToolCall(call_id="call_1_1", name="calculator", arguments_json='{"expression": "6 * 7"}'),
    ToolCall(call_id="call_1_2", name="calculator", arguments_json='{"expression": "2 + 2"}'),
)


def _turn(run_id: str) -> tuple[Message, ...]:
    return (
        Message(role=Role.USER, content="6 * 7 and 2 + 2?", run_id=run_id),
        Message(role=Role.ASSISTANT, tool_calls=CALLS, run_id=run_id),
        Message(role=Role.TOOL, content="42", tool_call_id="call_1_1", run_id=run_id),
        Message(role=Role.TOOL, content="4", tool_call_id="call_1_2", run_id=run_id),
        Message(role=Role.ASSISTANT, content="42 and 4.", run_id=run_id),
    )


CONVERSATION = ChatRequest(
    "clever",
    (
        Message(role=Role.SYSTEM, content="Be brief."),
        *_turn("run_a"),
        *_turn("run_b"),
        Message(role=Role.USER, content="Thanks."),
    ),
    tools=(CALCULATOR,),
    sampling=Sampling(temperature=0.5, top_p=0.9, stop=("END",), seed=3, max_tokens=100),
)
SHAPE = OutputShape(
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    }
)


def completions(request: ChatRequest, *, openai: bool = False, **more: Any) -> dict[str, Any]:
    return of_completions(MODEL, request, 100, openai=openai, **more)


def messages(request: ChatRequest, *, anthropic: bool = True) -> dict[str, Any]:
    return of_messages(MODEL, request, 100, anthropic=anthropic)


def test_openai_reads_a_conversation_message_by_message() -> None:
    sent = completions(CONVERSATION)["messages"]

    assert [message["role"] for message in sent[:6]] == [
        *("system", "user", "assistant", "tool", "tool", "assistant"),
    ]
    first, second = sent[2]["tool_calls"]
    assert sent[2]["content"] is None
    assert first["function"] == {"name": "calculator", "arguments": '{"expression": "6 * 7"}'}
    assert sent[3] == {"role": "tool", "content": "42", "tool_call_id": first["id"]}
    assert sent[4] == {"role": "tool", "content": "4", "tool_call_id": second["id"]}


def test_anthropic_reads_turns_with_all_results_in_one() -> None:
    sent = messages(CONVERSATION)

    assert sent["system"] == "Be brief."
    assert [turn["role"] for turn in sent["messages"][:4]] == ["user", "assistant"] * 2
    called, results = sent["messages"][1]["content"], sent["messages"][2]["content"]
    assert [block["input"] for block in called] == [
        {"expression": "6 * 7"},
        {"expression": "2 + 2"},
    ]
    assert results == [
        {"type": "tool_result", "tool_use_id": called[0]["id"], "content": "42"},
        {"type": "tool_result", "tool_use_id": called[1]["id"], "content": "4"},
    ]
    assert sent["messages"][-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "Thanks."}],
    }


def test_ids_of_calls_differ_between_the_runs_of_a_session_and_stay() -> None:
    def ids() -> list[str]:
        turns = messages(CONVERSATION)["messages"]
        return [
            block["id"]
            for turn in turns
            for block in turn["content"]
            if block["type"] == "tool_use"
        ]

    assert len(set(ids())) == 4
    assert ids() == ids()


def test_a_callers_own_ids_are_made_to_fit() -> None:
    call = ToolCall(call_id="a b/ü" * 30, name="calculator", arguments_json="{}")
    request = replace(
        ASKED, messages=(Message(role=Role.ASSISTANT, tool_calls=(call,)), *ASKED.messages)
    )
    (block,) = messages(request)["messages"][0]["content"]
    assert block["id"].isascii()
    assert len(block["id"]) <= 64


def test_empty_texts_are_not_sent_to_anthropic() -> None:
    request = replace(ASKED, messages=(*ASKED.messages, Message(role=Role.ASSISTANT, content=" ")))
    assert len(messages(request)["messages"]) == 1


def test_arguments_that_are_no_object_are_refused_before_anthropic_does() -> None:
    call = ToolCall(call_id="c", name="calculator", arguments_json="[1]")
    request = replace(ASKED, messages=(Message(role=Role.ASSISTANT, tool_calls=(call,)),))
    with pytest.raises(InvalidInput, match="calculator are no JSON object"):
        messages(request)


def test_half_a_character_in_arguments_is_not_sent() -> None:
    call = ToolCall(call_id="c", name="calculator", arguments_json='{"a": "\\ud83d"}')
    request = replace(ASKED, messages=(Message(role=Role.ASSISTANT, tool_calls=(call,)),))
    (block,) = messages(request)["messages"][0]["content"]
    assert block["input"] == {"a": "?"}


def test_tools_are_offered_with_their_schemas() -> None:
    (tool,) = completions(CONVERSATION)["tools"]
    assert tool == {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": CALCULATOR.description,
            "parameters": CALCULATOR.parameters,
        },
    }
    (tool,) = messages(CONVERSATION)["tools"]
    assert tool == {
        "name": "calculator",
        "description": CALCULATOR.description,
        "input_schema": CALCULATOR.parameters,
    }


def test_sampling_is_sent_as_each_api_takes_it() -> None:
    sent = completions(CONVERSATION)
    taken = ("temperature", "top_p", "stop", "seed", "max_tokens")
    assert [sent[name] for name in taken] == [0.5, 0.9, ["END"], 3, 100]
    assert sent["stream_options"] == {"include_usage": True}

    sent = messages(CONVERSATION, anthropic=False)
    assert sent["extra_body"] == {"temperature": 0.5, "top_p": 0.9}
    assert (sent["stop_sequences"], sent["max_tokens"]) == (["END"], 100)
    assert "extra_body" not in messages(CONVERSATION)  # Anthropic's has no temperature any more


def test_openais_own_server_gets_the_newer_limit() -> None:
    assert of_openai("https://api.openai.com/v1")
    assert of_openai("https://eu.api.openai.com/v1")
    assert of_openai("https://mine.openai.azure.com/openai/v1")
    assert not of_openai("http://127.0.0.1:8000/v1")
    assert not of_openai("https://api.openai.com.example.org/v1")
    sent = completions(CONVERSATION, openai=True)
    assert sent["max_completion_tokens"] == 100
    assert "max_tokens" not in sent


def test_what_a_model_refused_is_left_out() -> None:
    sent = completions(CONVERSATION, refused={"temperature", "max_tokens", "messages"})
    assert "temperature" not in sent
    assert "max_tokens" not in sent
    assert sent["max_completion_tokens"] == 100
    assert "messages" in sent


def test_an_output_goes_without_tools_and_stops() -> None:
    request = replace(CONVERSATION, output=SHAPE)
    for sent in (completions(request), messages(request)):
        assert not {"tools", "stop", "stop_sequences"} & sent.keys()


def test_a_model_that_cannot_be_held_to_a_schema_is_not() -> None:
    free = MODEL.model_copy(update={"capabilities": frozenset()})
    request = replace(ASKED, output=SHAPE)
    assert "response_format" not in of_completions(free, request, 100, openai=True)
    assert "output_config" not in of_messages(free, request, 100, anthropic=True)


def test_openai_holds_strictly_to_what_its_strict_mode_takes() -> None:
    sent = completions(replace(ASKED, output=SHAPE), openai=True)["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"] == {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "properties": {"a": {}},
            "required": ["a"],
            "additionalProperties": False,
        },
        {"anyOf": [{"type": "null"}]},
    ],
    ids=["optional", "open", "no object", "anything", "a choice"],
)
def test_what_strict_mode_does_not_take_goes_as_advice(schema: dict[str, Any]) -> None:
    sent = response_format(schema, of_openai=True)["json_schema"]
    assert sent["strict"] is False
    assert sent["schema"] == schema


def test_other_servers_hold_to_the_whole_schema() -> None:
    sent = completions(replace(ASKED, output=SHAPE))["response_format"]["json_schema"]
    assert sent["schema"]["properties"]["city"]["maxLength"] == 20
    assert "strict" not in sent


def test_anthropic_holds_to_a_schema_in_its_own_form() -> None:
    own = messages(replace(ASKED, output=SHAPE))["output_config"]["format"]
    assert own["type"] == "json_schema"
    assert own["schema"]["properties"]["city"] == {
        "type": "string",
        "description": "{maxLength: 20}",
    }
    other = messages(replace(ASKED, output=SHAPE), anthropic=False)["output_config"]["format"]
    assert other["schema"]["properties"]["city"]["maxLength"] == 20


def test_a_schema_that_anthropic_does_not_take_is_told_instead() -> None:
    anything = OutputShape({"type": "object", "properties": {"a": {}}, "required": ["a"]})
    sent = messages(replace(ASKED, output=anything))
    assert "output_config" not in sent
    assert '"required": ["a"]' in sent["system"]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_a_request_names_the_model_as_the_provider_does(dialect: Dialect) -> None:
    async with ScriptedServer([dialect.reply("Ray")]) as server, dialect.connected(server) as far:
        await ask(far)
    assert server.requests[0].json["model"] == "clever-2026"
    assert server.requests[0].json["stream"] is True
