"""All formats: however the stream is cut, the text and the calls are the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.catalogue import ToolCallFormat
from orchestrator.domain.chat import MalformedToolCall, TextChunk
from orchestrator.domain.errors import InvalidInput
from orchestrator.tool_calls import FORMATS, parser_for
from orchestrator.tool_calls.call_ids import numbered
from orchestrator.tool_calls.parser import Piece
from tests.orchestrator.tool_calls.samples import SAMPLES, Sample

EACH = pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{s.tool_format}-{s.answer[:30]!r}" for s in SAMPLES]
)
Outcome = tuple[str, tuple[tuple[str, str], ...], str]
HELD_CHARS = 34_000


def outcome(tool_format: str, stream: Iterable[str]) -> Outcome:
    """The joined text and the calls, or what is malformed."""
    parser = parser_for(tool_format, numbered())
    try:
        pieces = [piece for part in stream for piece in parser.feed(part)] + parser.close()
    except MalformedToolCall as error:
        return "", (), error.detail
    return said(pieces), called(pieces), ""


def said(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextChunk))


def called(pieces: Sequence[Piece]) -> tuple[tuple[str, str], ...]:
    calls = [piece.call for piece in pieces if not isinstance(piece, TextChunk)]
    return tuple((call.name, call.arguments_json) for call in calls)


def cut(answer: str, cuts: Iterable[int]) -> list[str]:
    edges = [0, *sorted(min(each, len(answer)) for each in cuts), len(answer)]
    return [answer[a:b] for a, b in itertools.pairwise(edges)]


@EACH
def test_an_answer_says_what_its_sample_says(sample: Sample) -> None:
    text, calls, malformed = outcome(sample.tool_format, [sample.answer])
    assert (text, calls, bool(malformed)) == (sample.text, sample.calls, bool(sample.malformed))
    assert sample.malformed in malformed


@EACH
def test_every_split_point_of_every_sample_gives_the_same(sample: Sample) -> None:
    whole = outcome(sample.tool_format, [sample.answer])
    for at in range(len(sample.answer) + 1):
        parts = [sample.answer[:at], sample.answer[at:]]
        assert outcome(sample.tool_format, parts) == whole, f"cut at {at}"


@EACH
def test_one_character_at_a_time_gives_the_same(sample: Sample) -> None:
    whole = outcome(sample.tool_format, [sample.answer])
    assert outcome(sample.tool_format, sample.answer) == whole


@given(st.sampled_from(SAMPLES), st.lists(st.integers(0, 300), max_size=8))
def test_any_splits_of_any_sample_give_the_same(sample: Sample, cuts: list[int]) -> None:
    whole = outcome(sample.tool_format, [sample.answer])
    assert outcome(sample.tool_format, cut(sample.answer, cuts)) == whole


FRAGMENTS = st.sampled_from(
    [sample.answer for sample in SAMPLES]
    + ["<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]
    + ["```", "```json\n", '"name": "x"', '"arguments": ', "{", "}", "[", "]", ",", ";", '"', "\\"]
)
ANSWERS = st.lists(st.one_of(FRAGMENTS, st.text(alphabet=" \n<>/`'ab☃", max_size=5)), max_size=8)


@given(st.sampled_from(sorted(FORMATS)), ANSWERS, st.lists(st.integers(0, 900), max_size=6))
def test_any_answer_cut_anywhere_ends_the_same(
    tool_format: str, fragments: list[str], cuts: list[int]
) -> None:
    answer = "".join(fragments)
    whole = outcome(tool_format, [answer])
    assert outcome(tool_format, cut(answer, cuts)) == whole
    assert outcome(tool_format, answer) == whole


@pytest.mark.parametrize("tool_format", sorted(FORMATS))
@given(st.text(alphabet=" \n<[{tool_cal}]>/|`;:.", max_size=60))
def test_text_without_calls_passes_unchanged(tool_format: str, answer: str) -> None:
    assert outcome(tool_format, answer) == (answer, (), "")


@pytest.mark.parametrize(
    ("tool_format", "parts", "passed_on"),
    [
        ("hermes", ["2 <", " 3 <tool", "box>"], ["2", " < 3", " <toolbox>"]),
        ("llama3_json", ["2 <|py", "thon|", "{x}"], ["2", " <|python|", "{x}"]),
        ("llama3_json", ['{"na', 'me": "Ann", "a', 'ge": 5', "}"], ["", "", None, "}"]),
        ("mistral", ["a [TOOL", "] [", "x"], ["a", " [TOOL]", " [x"]),
        (
            "json",
            ["Here", " it", ' is\n{"x"', ': {"name": 1'],
            ["Here", " it", None, ': {"name": 1'],
        ),
        ("json", ["``", "`py\n", "x = 1"], ["", "```py", "\nx = 1"]),
    ],
)
def test_text_is_passed_on_as_soon_as_it_can_not_be_a_call(
    tool_format: str, parts: list[str], passed_on: list[str | None]
) -> None:
    parser = parser_for(tool_format, numbered())
    before = ""
    for index, (part, expected) in enumerate(zip(parts, passed_on, strict=True)):
        now = said(parser.feed(part))
        before += now
        if expected is None:  # everything that came so far
            assert before == "".join(parts[: index + 1])
        else:
            assert now == expected


def test_a_call_is_passed_on_with_its_last_brace() -> None:
    for tool_format, answer in (
        ("llama3_json", '{"name": "x", "parameters": {}}'),
        ("json", '[{"name": "x", "arguments": {}}'),
        ("mistral", "[TOOL_CALLS]x[ARGS]{}"),
    ):
        parser = parser_for(tool_format, numbered())
        assert parser.feed(answer[:-1]) == []
        assert called(parser.feed(answer[-1])) == (("x", "{}"),)


@pytest.mark.parametrize("tool_format", sorted(FORMATS))
@pytest.mark.parametrize("beginning", ["", "a", "[", "{", "```", "```json\n", '{"name": "', "\n["])
@pytest.mark.parametrize("rest", [" ", "\n", "a", "<", "[", "{", "`", '"', "\\", "a\n[ "])
def test_what_is_held_back_is_bounded(tool_format: str, beginning: str, rest: str) -> None:
    parser = parser_for(tool_format, numbered())
    answer = beginning + rest * 60_000
    text = ""
    for at in range(0, len(answer), 999):
        text += said(parser.feed(answer[at : at + 999]))
        assert at - len(text) < HELD_CHARS


@pytest.mark.parametrize(
    ("tool_format", "beginning"),
    [
        ("hermes", '<tool_call>{"name": "'),
        ("llama3_json", '<|python_tag|>{"name": "'),
        ("llama3_json", '{"name": "x", "parameters": {"a": "'),
        ("mistral", "[TOOL_CALLS]x[ARGS]{"),
        ("json", '[{"arguments": {}, "name": "'),
    ],
)
@pytest.mark.parametrize("size", [1, 32_768])
def test_a_call_that_goes_on_and_on_is_malformed(
    tool_format: str, beginning: str, size: int
) -> None:
    stream = [beginning, *("x" * size for _ in range(0, 32_800, size))]
    assert "longer than 32768" in outcome(tool_format, stream)[2]


@pytest.mark.parametrize(
    ("tool_format", "before", "after"),
    [
        ("hermes", "<tool_call>", "</tool_call>"),
        ("llama3_json", "", ""),
        ("llama3_json", "<|python_tag|>", ";"),
        ("mistral", "[TOOL_CALLS] [", "]"),
        ("json", "```json\n", "\n```"),
    ],
)
@pytest.mark.parametrize("size", [32_768, 32_769])
def test_the_longest_call_is_the_same_however_the_stream_is_cut(
    tool_format: str, before: str, after: str, size: int
) -> None:
    body = '{"name": "x", "arguments": {"a": "%s"}}'
    answer = before + body % ("y" * (size - len(body) + 2)) + after
    text, calls, malformed = outcome(tool_format, [answer])
    assert (text, len(calls), bool(malformed)) == (
        "",
        *((1, False) if size == 32_768 else (0, True)),
    )
    pieces = [answer[at : at + 1_000] for at in range(0, len(answer), 1_000)]
    assert outcome(tool_format, pieces) == (text, calls, malformed)


def test_the_catalogue_knows_the_formats_that_there_are() -> None:
    assert {each.value for each in ToolCallFormat} == FORMATS.keys()


def test_a_format_nobody_knows_is_refused_by_name() -> None:
    known = "'xml' is not known; it can be hermes, json, llama3_json, mistral"
    with pytest.raises(InvalidInput, match=known):
        parser_for("xml", numbered())
