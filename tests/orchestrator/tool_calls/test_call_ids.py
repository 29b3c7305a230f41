from orchestrator.domain.messages import Message, Role, ToolCall
from orchestrator.tool_calls.call_ids import following, numbered


def _calls(*ids: str) -> Message:
    calls = tuple(ToolCall(call_id=name, name="x", arguments_json="{}") for name in ids)
    return Message(role=Role.ASSISTANT, tool_calls=calls)


def test_ids_count_up_behind_their_prefix() -> None:
    new = numbered("c", after=4)
    assert [new(), new()] == ["c5", "c6"]


def test_ids_follow_the_highest_of_the_conversation() -> None:
    messages = [_calls("call_2", "call_11"), _calls("call_3", "other_90", "call_x", "call_²")]
    assert following(messages)() == "call_12"


def test_ids_of_a_conversation_without_calls_begin_at_one() -> None:
    assert following([Message(role=Role.USER, content="Hi")])() == "call_1"
