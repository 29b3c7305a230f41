import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.chat import MalformedToolCall, TextChunk
from orchestrator.domain.messages import ToolCall
from orchestrator.tool_calls import parser_for
from orchestrator.tool_calls.call_ids import numbered

SUM = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "437 * 12"}}\n</tool_call>'
CLOCK = '<tool_call>{"name": "current_time", "arguments": {"timezone": "UTC"}}</tool_call>'
SUM_CALL = ToolCall(
    call_id="call_1", name="calculator", arguments_json='{"expression": "437 * 12"}'
)


def parse(*stream: str) -> tuple[str, list[ToolCall]]:
    parser = parser_for("hermes", numbered())
    pieces = [piece for part in stream for piece in parser.feed(part)] + parser.close()
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextChunk))
    return text, [piece.call for piece in pieces if not isinstance(piece, TextChunk)]


@pytest.mark.parametrize(
    ("answer", "text", "names"),
    [
        ("Hello there.", "Hello there.", []),
        ("", "", []),
        (" \n Hello \n", " \n Hello \n", []),
        (SUM, "", ["calculator"]),
        (f"\n{SUM}\n", "", ["calculator"]),
        (f"Let me see.\n{SUM}\n", "Let me see.", ["calculator"]),
        (f"{SUM}\nThat is it. ", "That is it. ", ["calculator"]),
        (f"One\n{SUM}\n{CLOCK}two", "One\n\ntwo", ["calculator", "current_time"]),
        (f"{SUM}{CLOCK}", "", ["calculator", "current_time"]),
        ("a < b and <tool_cal", "a < b and <tool_cal", []),
        ("<tool_<tool_call", "<tool_<tool_call", []),
        (f"<<tool_call{SUM}", "<<tool_call", ["calculator"]),
        ("</tool_call> alone", "</tool_call> alone", []),
        ("Grüße 👋 " + SUM, "Grüße 👋", ["calculator"]),
    ],
)
def test_every_way_to_cut_the_stream_gives_the_same_text_and_calls(
    answer: str, text: str, names: list[str]
) -> None:
    whole = parse(answer)
    assert (whole[0], [call.name for call in whole[1]]) == (text, names)
    assert parse(*answer) == whole
    for first in range(len(answer) + 1):
        for second in range(first, len(answer) + 1, 7):
            assert parse(answer[:first], answer[first:second], answer[second:]) == whole


def test_a_call_carries_its_arguments_as_the_model_wrote_them() -> None:
    arguments = '{ "amount": 1.50, "note":"caf\\u00e9" , "big": 1e400}'
    _, (call,) = parse(f'<tool_call>{{"arguments": {arguments}, "name": "pay"}}</tool_call>')
    assert call == ToolCall(call_id="call_1", name="pay", arguments_json=arguments)


def test_a_call_without_arguments_has_an_empty_object() -> None:
    _, (call,) = parse('<tool_call>{"name": "ping"}</tool_call>')
    assert call.arguments_json == "{}"


def test_calls_are_numbered_in_order() -> None:
    _, calls = parse(SUM, CLOCK, SUM)
    assert [call.call_id for call in calls] == ["call_1", "call_2", "call_3"]


def test_a_closing_tag_inside_a_string_belongs_to_the_string() -> None:
    inner = json.dumps({"text": 'quote " then </tool_call> then \\'})
    answer = f'<tool_call>{{"name": "write", "arguments": {inner}}}</tool_call>done'
    for cut in range(len(answer) + 1):
        text, (call,) = parse(answer[:cut], answer[cut:])
        assert (text, call.arguments_json) == ("done", inner)


def test_text_is_passed_on_as_soon_as_it_can_not_be_a_tag() -> None:
    parser = parser_for("hermes", numbered())
    assert parser.feed("2 <") == [TextChunk("2")]
    assert parser.feed(" 3 <tool") == [TextChunk(" < 3")]
    assert parser.feed("box>") == [TextChunk(" <toolbox>")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{'name': 'x'}", "not a JSON object"),
        ('{"name": "x", "arguments": {"a": 1}', "not a JSON object"),
        ('{"name": "x", "arguments": {"a": NaN}}', "NaN"),
        ('{"name": "x"} {"name": "y"}', "Extra data"),
        ('{"name": "x", "name": "y"}', "new property name"),
        ('{1: "x"}', "new property name"),
        ('["x"]', "not a JSON object"),
        ("", "not a JSON object"),
        ("{}", '"name"'),
        ('{"name": 7}', '"name"'),
        ('{"name": "two words"}', '"name"'),
        ('{"name": "x", "arguments": [1]}', '"arguments"'),
        ('{"name": "x", "arguments": "{}"}', '"arguments"'),
        ('{"name": "x", "arguments": ' + "[" * 9_000 + "]" * 9_000 + "}", "nested too deeply"),
        ('{"name": "' + "x" * 33_000, "longer than 32768"),
    ],
)
def test_a_call_that_can_not_be_read_is_malformed_and_says_why(body: str, why: str) -> None:
    with pytest.raises(MalformedToolCall, match=why):
        parse(f"<tool_call>{body}</tool_call>")


@pytest.mark.parametrize("cut", range(len("<tool_call>"), len(CLOCK)))
def test_an_answer_that_ends_inside_a_call_is_malformed(cut: int) -> None:
    with pytest.raises(MalformedToolCall, match="</tool_call> is missing"):
        parse(CLOCK[:cut])


FRAGMENTS = st.sampled_from(
    [SUM, CLOCK, "<tool_call>", "</tool_call>", "<tool", "_call>", "<", ">", '"', "\\", "{", "}"]
)
ANSWERS = st.lists(st.one_of(FRAGMENTS, st.text(alphabet=" \n<>/ab☃", max_size=5)), max_size=8)


@given(ANSWERS.map("".join), st.lists(st.integers(0, 300), max_size=6))
def test_any_answer_cut_anywhere_ends_the_same(answer: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    stream = [answer[a:b] for a, b in itertools.pairwise(edges)]
    assert _outcome(*stream) == _outcome(answer)


@given(
    st.text(alphabet=" \n<tool_cal/", max_size=40).filter(lambda text: "<tool_call>" not in text)
)
def test_an_answer_without_calls_passes_unchanged(answer: str) -> None:
    assert parse(*answer) == (answer, [])


def _outcome(*stream: str) -> object:
    try:
        return parse(*stream)
    except MalformedToolCall as error:
        return error.detail
