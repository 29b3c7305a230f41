"""The seeded conversations that the chat models are trained and scored on."""

import json
import random
import re
from decimal import Decimal

import pytest

from scripts.chat_training.arithmetic import draw_sum, draw_sum_on
from scripts.chat_training.conversation import Conversation, draw_conversation
from scripts.chat_training.held_out import HARD, draw_held_out
from scripts.chat_training.records import draw_lookup
from scripts.chat_training.small_talk import NO_TOOL
from scripts.chat_training.template import parse_tool_calls, render
from scripts.chat_training.toolset import built_in_tools, default_system_prompt, draw_tools

CONVERSATIONS = [draw_conversation(f"test/{index}", exchanges=5) for index in range(300)]


def first_question(conversation: Conversation) -> str:
    return str(conversation.exchanges[0].messages[0]["content"])


def test_the_same_seed_gives_the_same_conversation() -> None:
    again = [draw_conversation(f"test/{index}", exchanges=5) for index in range(300)]

    assert again == CONVERSATIONS


def test_another_seed_gives_other_conversations() -> None:
    other = [draw_conversation(f"other/{index}", exchanges=5) for index in range(300)]

    assert not any(conversation in CONVERSATIONS for conversation in other)


def test_held_out_conversations_are_not_trained_on() -> None:
    trained = [draw_conversation(f"train/1/{index}", exchanges=4) for index in range(300)]

    assert not any(conversation in trained for conversation in draw_held_out(1, count=300))


def test_every_category_is_drawn() -> None:
    drawn = {exchange.category for talk in CONVERSATIONS for exchange in talk.exchanges}

    simple = {"arithmetic", "time", "lookup", "chat", "no_tool", "other_tools", "conversion"}
    assert drawn == simple | set(HARD)


def test_some_conversations_offer_no_tools_and_some_the_built_in_ones() -> None:
    offered = [conversation.tools for conversation in CONVERSATIONS]

    assert () in offered
    assert tuple(tool.schema for tool in built_in_tools()) in offered
    assert default_system_prompt() in {conversation.system for conversation in CONVERSATIONS}


def test_every_call_names_an_offered_tool_and_gives_its_required_arguments() -> None:
    for conversation in CONVERSATIONS:
        required = {
            tool["function"]["name"]: tool["function"]["parameters"]["required"]
            for tool in conversation.tools
        }
        for message in conversation.messages:
            for call in message.get("tool_calls", []):
                arguments = json.loads(call["function"]["arguments"])
                assert list(arguments) == required[call["function"]["name"]]


def test_every_call_is_followed_by_its_result() -> None:
    for conversation in CONVERSATIONS:
        called: list[str] = []
        for message in conversation.messages:
            if message["role"] == "tool":
                assert message["tool_call_id"] == called.pop(0)
            else:
                assert not called
            called += [call["id"] for call in message.get("tool_calls", [])]


def test_a_rendered_conversation_parses_back_to_the_same_calls() -> None:
    for conversation in CONVERSATIONS:
        wanted = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for message in conversation.messages
            for call in message.get("tool_calls", [])
        ]

        assert parse_tool_calls(render(conversation.messages, conversation.tools)) == wanted


def test_a_question_for_a_tool_that_is_not_offered_is_refused() -> None:
    talks = [talk for talk in CONVERSATIONS if not talk.tools]
    answers = [
        str(exchange.messages[-1]["content"])
        for talk in talks
        for exchange in talk.exchanges
        if exchange.category != "chat"
    ]

    assert answers
    assert all(answer == NO_TOOL for answer in answers)


@pytest.mark.parametrize("seed", range(60))
def test_a_sum_is_right_and_names_the_numbers_of_its_question(seed: int) -> None:
    ask = draw_sum(random.Random(seed))

    numbers = re.findall(r"\d+(?:\.\d+)?", ask.argument)
    assert sorted(re.findall(r"\d+(?:\.\d+)?", ask.question)) == sorted(numbers)
    expected = eval(re.sub(r"(\d+(?:\.\d+)?)", r"Decimal('\1')", ask.argument))
    assert isinstance(expected, Decimal)
    assert float(ask.result) == pytest.approx(float(expected), rel=1e-4)
    assert ask.result in ask.answer


def test_a_sum_on_the_last_result_starts_from_it() -> None:
    ask = draw_sum_on(random.Random(3), "5244")

    assert ask.argument.startswith("5244 ")


@pytest.mark.parametrize("seed", range(60))
def test_an_answer_about_a_record_only_says_what_the_record_holds(seed: int) -> None:
    ask = draw_lookup(random.Random(seed))

    record = json.loads(ask.result)
    facts = {str(value) for value in record.values()} | {ask.argument}
    numbers = re.findall(r"[AP]?\d+(?:[.-]\d+)*", ask.answer)
    assert set(numbers) <= facts


def test_tool_lists_differ() -> None:
    rng = random.Random(5)
    lists = {tuple(tool.name for tool in draw_tools(rng, built_in_tools())) for _ in range(200)}

    assert len(lists) > 30
