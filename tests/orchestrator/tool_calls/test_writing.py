from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.tool_calls import FORMATS
from orchestrator.tool_calls.writing import for_template

CALLS = tuple(
    ToolCall(call_id=f"call_1_{number}", name=name, arguments_json="{}")
    for number, name in enumerate(("add", "note", "ping"), 1)
)


def result(call: ToolCall, run_id: str = "run_1") -> Message:
    return Message(role=Role.TOOL, content=call.name, tool_call_id=call.call_id, run_id=run_id)


def turn(run_id: str = "run_1") -> tuple[Message, ...]:
    return (
        Message(role=Role.USER, content="Both?", run_id=run_id),
        Message(role=Role.ASSISTANT, content="So:", tool_calls=CALLS, run_id=run_id),
        *(result(call, run_id) for call in CALLS),
        Message(role=Role.ASSISTANT, content="Done.", run_id=run_id),
    )


def test_formats_whose_templates_take_anything_get_it_as_it_is() -> None:
    assert for_template(turn(), FORMATS["hermes"]) == turn()
    assert for_template(turn(), FORMATS["json"]) == turn()


def test_llama_gets_each_call_in_a_message_of_its_own_before_its_result() -> None:
    asked, *pairs, done = for_template(turn(), FORMATS["llama3_json"])
    assert (asked, done) == (turn()[0], turn()[-1])
    assert [m.tool_calls for m in pairs[::2]] == [(call,) for call in CALLS]
    assert [m.content for m in pairs[::2]] == ["So:", "", ""]
    assert pairs[1::2] == [result(call) for call in CALLS]


def test_a_single_call_stays_as_it_is_for_llama() -> None:
    messages = (Message(role=Role.ASSISTANT, tool_calls=CALLS[:1]), result(CALLS[0]))
    assert for_template(messages, FORMATS["llama3_json"]) == messages


def test_mistral_gets_ids_of_nine_letters_and_digits_that_still_belong_together() -> None:
    messages = for_template((*turn("run_1"), *turn("run_2")), FORMATS["mistral"])
    asked = [call.call_id for message in messages for call in message.tool_calls]
    answered = [message.tool_call_id for message in messages if message.role is Role.TOOL]
    assert asked == answered
    assert len(set(asked)) == 6
    assert all(len(each) == 9 and each.isascii() and each.isalnum() for each in asked)
    assert for_template(messages, FORMATS["mistral"]) == messages


def test_a_call_keeps_its_id_while_the_conversation_grows() -> None:
    longer = for_template((*turn(), *turn("run_2")), FORMATS["mistral"])
    assert longer[: len(turn())] == for_template(turn(), FORMATS["mistral"])
