import contextlib
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.builtin_tools.calculator import shown
from orchestrator.adapters.builtin_tools.expression import evaluate
from orchestrator.adapters.builtin_tools.registry import ToolFailed


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("437 * 12", "5244"),
        ("0.1 + 0.2", "0.3"),
        ("10 / 4", "2.5"),
        ("6 / 3", "2"),
        ("(1 / 3) * 3", "1"),
        ("1 / 3", "0.3333333333"),
        ("2 / 3", "0.6666666667"),
        ("22 / 7", "3.1428571429"),
        ("123456789012345 / 7", "17636684144620.7142857143"),
        ("0.000001 / 3", "0.0000003333333333"),
        ("0.123456789012345", "0.123456789012345"),
        ("1 / 1024", "0.0009765625"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("7.5 % 2", "1.5"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("10 - 4 - 3", "3"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("3 * -2", "-6"),
        ("1 - -1", "2"),
        ("2 ** 0.5", "1.4142135624"),
        ("4 ** 0.5", "2"),
        ("0 ** 0.5", "0"),
        ("1e3 + 1.5e-1", "1000.15"),
        (".5 + 1.", "1.5"),
        ("1,234,567 + 1", "1234568"),
        ("437 x 12", "5244"),
        ("2 ^ 10", "1024"),
        ("5 \u00d7 4 \u00f7 8 \u2212 1", "1.5"),  # the signs of print
        ("0.5 - 0.5", "0"),
        ("2 ** 100", str(2**100)),
        ("+".join(["1"] * 200), "200"),
    ],
)
def test_values_are_as_exact_as_a_person_expects(expression: str, value: str) -> None:
    assert shown(evaluate(expression)) == value


def test_a_large_root_is_right_in_every_digit_of_its_whole_part() -> None:
    whole = shown(evaluate("2 ** 1000.5")).partition(".")[0]
    assert int(whole) == math.isqrt(2**2001)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "expected a number but found the end"),
        ("   ", "expected a number but found the end"),
        ("1 / 0", "division by zero"),
        ("1 // 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("1 +", "expected a number but found the end"),
        ("* 2", r"expected a number but found '\*'"),
        ("(1", r"expected '\)' but found the end"),
        ("1)", r"expected the end of the expression but found '\)'"),
        ("1 2", "expected the end of the expression but found '2'"),
        ("3(4)", r"expected the end of the expression but found '\('"),
        ("1,00", "',00' is not arithmetic"),
        ("abs(1)", r"'abs\(1\)' is not arithmetic"),
        ("__import__('os').system('true')", "is not arithmetic"),
        ("1 if 1 else 2", "is not arithmetic"),
        ("1 == 1", "is not arithmetic"),
        ("(-8) ** (1/3)", "no real root"),
        ("9 ** 9 ** 9", "too large"),
        ("9 ** 999999999", "too large"),
        ("2 ** -99999", "too large"),
        ("1e9999", "too large or too small"),
        ("1e-9999", "too large or too small"),
        ("9**400 * 9**400 * 9**400 * 9**400", "too large"),
        ("1e999 ** 0.5 * 1e999 * 1e999", "too large"),
        ("(" * 60 + "1" + ")" * 60, "nested more than 50 deep"),
        ("-" * 60 + "1", "nested more than 50 deep"),
        ("1 ** " * 60 + "1", "nested more than 50 deep"),
        ("1" * 401, "longer than 400"),
        ("٣ + ٤", "is not arithmetic"),
    ],
)
def test_what_is_no_arithmetic_or_too_large_fails_and_says_why(expression: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        evaluate(expression)


SUMS = st.recursive(
    st.integers(-999, 999).map(str),
    lambda inner: st.builds(
        "({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner
    ),
    max_leaves=12,
)


@given(SUMS)
def test_whole_numbers_come_out_as_python_has_them(expression: str) -> None:
    try:
        value = eval(expression, {})
    except ZeroDivisionError:
        with pytest.raises(ToolFailed, match="division by zero"):
            evaluate(expression)
    else:
        assert shown(evaluate(expression)) == str(value)


@given(st.text(alphabet="0123456789.,+-*/%^()eEx ", max_size=40))
def test_any_text_has_a_value_or_fails_as_a_tool_does(text: str) -> None:
    with contextlib.suppress(ToolFailed):
        assert shown(evaluate(text))


@given(st.fractions(max_denominator=10**6))
def test_a_value_is_shown_to_ten_digits_or_better(value: Fraction) -> None:
    assert math.isclose(float(Fraction(shown(value))), float(value), rel_tol=1e-9)
