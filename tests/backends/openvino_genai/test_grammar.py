"""Grammars from schemas and regular expressions; the engine's own reading is tested on Triton."""

import ast
import json
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.structured import StructuredOutput
from backends.openvino_genai.grammar import grammar_for
from backends.openvino_genai.integer_range import integer_range
from backends.openvino_genai.literals import is_printed_in_hex, literal
from backends.openvino_genai.regex_grammar import regex_rule

NUMBERS = st.integers(-(10**7), 10**7)


def as_regex(expression: str) -> str:
    """An expression of literals, classes, groups and repeats, in Python's spelling."""
    parts = re.findall(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[^"\[\s]', expression)
    return "".join(
        re.escape(ast.literal_eval(part)) if part.startswith('"') else part for part in parts
    )


def matches(expression: str, text: str) -> bool:
    return re.fullmatch(as_regex(expression), text) is not None


@settings(deadline=None)
@given(st.none() | NUMBERS, st.none() | NUMBERS, NUMBERS)
@example(0, 0, 0)
@example(-5, 5, 0)
@example(None, -3, -3)
@example(100, 999, 1000)
def test_an_integer_range_takes_exactly_what_lies_in_it(
    low: int | None, high: int | None, value: int
) -> None:
    assume(low is None or high is None or low <= high)
    inside = (low is None or value >= low) and (high is None or value <= high)
    assert matches(integer_range(low, high), str(value)) == inside


@settings(deadline=None)
@given(NUMBERS, st.integers(0, 300), st.integers(-3, 3))
def test_the_edges_of_a_range_are_exact(low: int, width: int, offset: int) -> None:
    for value in (low + offset, low + width + offset):
        inside = low <= value <= low + width
        assert matches(integer_range(low, low + width), str(value)) == inside


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"ab+c?", ["ab", "abbc"], ["a", "abcc"]),
        (r"^(yes|no)$", ["yes", "no"], ["yesno", ""]),
        (r"\d{3}-\d{2,4}", ["123-45", "123-4567"], ["123-4", "12-45"]),
        (r"[a-cX\-]+", ["abc", "X-"], ["d", ""]),
        (r"[^a-z]", ["A", "1"], ["b"]),
        (r"(?:a|b){2,}", ["ab", "bba"], ["a"]),
        (r"\w+\.\w{2}", ["ab.cd"], ["abxcd", "ab.c"]),
        (r"a\nb", ["a\nb"], ["anb"]),
        (r"", [""], ["a"]),
        (r'say "x"', ['say "x"'], ["say x"]),
    ],
)
def test_a_regex_keeps_its_meaning(pattern: str, right: list[str], wrong: list[str]) -> None:
    assert all(matches(regex_rule(pattern), text) for text in right)
    assert not any(matches(regex_rule(pattern), text) for text in wrong)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "ends inside a group"),
        ("a)", "unmatched"),
        ("[a", "ends inside a class"),
        ("*a", "nothing before it"),
        ("a{2", "is not {n}"),
        ("a{5,2}", "from more to less"),
        ("a{1,9999}", "more than 1000"),
        ("a+?", "lazy"),
        ("(?=a)", "group other than"),
        (r"(a)\1", r"uses \\1"),
        (r"a\b", r"uses \\b"),
        ("a$b", "in its middle"),
        ("[z-a]", "wrong way round"),
        ("a\\", "ends too early"),
    ],
)
def test_a_regex_that_cannot_be_kept_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        regex_rule(pattern)


def test_a_pattern_inside_json_cannot_ask_for_what_must_be_escaped() -> None:
    with pytest.raises(InvalidRequest, match="only escaped"):
        regex_rule('a"b', in_json=True)
    assert not matches(regex_rule(".", in_json=True), '"')
    assert not matches(regex_rule("[^a]", in_json=True), "\\")


def schema(**keywords: object) -> StructuredOutput:
    return StructuredOutput("json", json.dumps(keywords))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"type": "text"}, 'type must be one or more of object.* not "text"'),
        ({"type": "string", "minimum": 1}, "'minimum' is not supported here"),
        ({"type": "number", "minimum": 1}, "'minimum' is not supported here"),
        ({"type": "object", "patternProperties": {}}, "'patternProperties'"),
        ({"properties": {"a": {"type": "int"}}}, "the schema/properties/a: type must be"),
        ({"required": ["a"]}, "the required 'a'"),
        ({"$ref": "#/$defs/none"}, "refers to no #/"),
        ({"$ref": "http://x"}, "must point into the schema itself"),
        ({"$ref": "#"}, "refers to itself alone"),
        ({"allOf": [{}, {}]}, "'allOf' of several"),
        ({"anyOf": []}, "anyOf must be a list"),
        ({"enum": []}, "enum must be a list"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no integer is from 3 to 2"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "is below"),
        ({"type": "array", "items": 3}, "the schema/items must be an object"),
        ({"not": {}}, "type must be"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused_by_name(
    keywords: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        grammar_for(schema(**keywords))


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert grammar_for(schema(**tree)).startswith("root ::= ")


def test_white_space_is_bounded_everywhere() -> None:
    text = grammar_for(schema(type="object", properties={"a": {"type": "array"}}))
    assert 'ws ::= ("" | " " | "\\n" [ ]{0,16})' in text
    assert "[ ]*" not in text


def test_a_raw_grammar_is_refused_for_it_could_break_the_engine() -> None:
    with pytest.raises(InvalidRequest, match="not as grammar"):
        grammar_for(StructuredOutput("grammar", 'root ::= "a"'))


def test_space_may_be_fixed_so_that_a_schema_has_one_spelling() -> None:
    fixed = StructuredOutput("json", '{"type": "object"}', fixed_space=True)
    assert 'ws ::= ""\nsp ::= " "' in grammar_for(fixed)


def test_no_half_of_a_character_may_be_escaped() -> None:
    (rule,) = (
        line.partition(" ::= ")[2]
        for line in grammar_for(schema(type="string")).splitlines()
        if line.startswith("hex4 ")
    )
    halves = [f"{code:04x}" for code in range(0xD800, 0xE000)]
    assert not any(matches(f"({rule})", half) for half in halves)
    assert all(matches(f"({rule})", code) for code in ("0000", "d7ff", "D7FF", "e000", "FFFF"))


def test_a_bound_beyond_the_longest_integer_makes_no_repetition_that_goes_backwards() -> None:
    assert "{" not in integer_range(10**30, None).partition("|")[2]


@pytest.mark.parametrize("text", ["größe", "é1", "\x01b\x7fa", "ÿÿ0", "日本a", 'q"\\é', ""])
def test_a_literal_keeps_what_the_engine_prints_in_hex_apart(text: str) -> None:
    expression = literal(text)
    assert matches(expression, text)
    quoted = "".join(re.findall(r'"[^"]*"', expression))
    assert not any(is_printed_in_hex(char) for char in quoted)


def test_a_class_ends_with_what_the_engine_prints_in_hex() -> None:
    assert regex_rule(r"[é\na-f0]") == r"([a-f0é\x0a])"
    with pytest.raises(InvalidRequest, match="beyond ASCII"):
        regex_rule("[^é]")
