from __future__ import annotations

from typing import Any

import pytest

from orchestrator.execution.outputs import MAX_OUTPUT_BYTES, BadOutput, read_output

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {"key": {"type": "string"}, "total": {"type": "number", "minimum": 0}},
    "required": ["key"],
}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"total": 2.50, "key": "A1"}', '{"total":2.5,"key":"A1"}'),
        (' \n{ "key":\t"\\u00e9 " }\n', '{"key":"é "}'),
        ('```json\n{"key": "A1"}\n```', '{"key":"A1"}'),
        ('{"key": "A1", "more": [1, null]}', '{"key":"A1","more":[1,null]}'),
    ],
)
def test_a_fitting_answer_becomes_one_line_in_one_form(text: str, canonical: str) -> None:
    assert read_output(ORDER, text) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON: Expecting value"),
        ("Sure! {}", "is not JSON"),
        ('{"key": "A1"', "is not JSON"),
        ('{"key": "A1"} {"key": "A2"}', "is not JSON: Extra data"),
        ('{"key": 3}', "does not fit: answer.key: 3 is not of type 'string'"),
        ('{"total": 3}', "'key' is a required property"),
        ('{"key": "A1", "total": -1}', "answer.total: -1 is less than the minimum of 0"),
        ('{"key": "A1", "key": "A2"}', "the same property twice"),
        ('{"key": "A1", "total": NaN}', "NaN is no number"),
        ('{"key": "A1", "total": 1e999}', "not all can read"),
        ('{"key": "\\ud800"}', "not all can read"),
        ("[" * 100_000, "is not JSON"),
        (f'{{"key": "{"x" * MAX_OUTPUT_BYTES}"}}', f"at most {MAX_OUTPUT_BYTES}"),
    ],
)
def test_what_does_not_fit_is_told_why(text: str, why: str) -> None:
    with pytest.raises(BadOutput) as refused:
        read_output(ORDER, text)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_check_that_takes_too_long_is_given_up() -> None:
    one = {"type": "array", "items": {"anyOf": [{"type": "string"}] * 400}}
    with pytest.raises(BadOutput, match="too large or too deep"):
        read_output(one, str([1] * 1000))


@pytest.mark.parametrize(
    "number", ["1e999", "1" + "0" * 400], ids=["no finite one", "too large to be divided"]
)
def test_a_number_that_cannot_be_divided_does_not_fit(number: str) -> None:
    with pytest.raises(BadOutput, match="not all can read"):
        read_output({"type": "number", "multipleOf": 0.1}, number)


NAMES = [f"p{number}" for number in range(480)]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ({"enum": list(range(2000))}, str([1999] * 2000)),
        ({"type": "array", "uniqueItems": True}, str([[[i] for i in range(128)]] * 60)),
        ({"type": "object", "required": NAMES}, str([{}] * 1000)),
        ({"const": "x" * 16_000}, str([1] * 10_000)),
    ],
    ids=["comparisons", "comparisons of all with all", "errors", "long errors"],
)
def test_what_a_check_does_besides_counts_as_well(items: dict[str, Any], text: str) -> None:
    with pytest.raises(BadOutput, match="too large or too deep"):
        read_output({"anyOf": [{"type": "array", "items": items}]}, text)


def test_of_many_errors_the_first_are_enough() -> None:
    items = {"type": "object", "required": NAMES}
    with pytest.raises(BadOutput, match=r"answer\.0: 'p0' is a required property"):
        read_output({"type": "array", "items": items}, str([{}] * 10_000))


def test_long_lists_of_plain_choices_are_checked() -> None:
    items = {"enum": [f"c{number}" for number in range(1000)]}
    text = str(["c999"] * 500).replace("'", '"')
    assert len(read_output({"type": "array", "items": items}, text)) > 3000
    with pytest.raises(BadOutput, match="'c1000' is not one of"):
        read_output({"type": "array", "items": items}, '["c1000"]')
