"""Arithmetic on exact fractions: `+ - * / // % **`, brackets, decimals; nothing else.

A parser of its own rather than Python's, so that nothing but arithmetic can be said, in
the way people write it: `1,000`, `^`, `x` and the signs of print are understood.
Every bound is checked before the work is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction

from orchestrator.adapters.builtin_tools.registry import ToolFailed

MAX_CHARS = 400
MAX_NESTING = 50
MAX_BITS = 4_096
"""Of a numerator or denominator: about 1,230 digits."""
MAX_EXPONENT_DIGITS = 3
ROOT_DIGITS = 40

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<operator>\*\*|//|[-+*/%()^×÷−·xX]))",  # noqa: RUF001 - people write them
    re.ASCII,
)
_SAME = {"×": "*", "·": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "^": "**"}  # noqa: RUF001
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": 4}
_SIGN_PRECEDENCE = 3  # below a power: -2 ** 2 is -4
_END = ""


def evaluate(expression: str) -> Fraction:
    """Returns the exact value, or for a root `ROOT_DIGITS` digits after the whole part.

    Raises:
        ToolFailed: it is no arithmetic expression, divides by zero, or is too large.
    """
    if len(expression) > MAX_CHARS:
        raise ToolFailed(f"the expression is longer than {MAX_CHARS} characters")
    parser = _Parser(_tokens(expression))
    value = parser.expression(0, 0)
    parser.expect(_END)
    return value


def _tokens(expression: str) -> Iterator[str]:
    at, end = 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None:
            found = expression[at:].lstrip()[:20]
            raise ToolFailed(f"{found!r} is not arithmetic: use numbers, + - * / // % ** and ( )")
        at = match.end()
        operator = match["operator"]
        yield _SAME.get(operator, operator) if operator else match["number"].replace(",", "")


class _Parser:
    """Precedence climbing over the tokens; values are computed on the way."""

    def __init__(self, tokens: Iterator[str]) -> None:
        self._tokens = tokens
        self._next = next(tokens, _END)

    def expect(self, token: str) -> None:
        if self._next != token:
            what = repr(token) if token else "the end of the expression"
            raise ToolFailed(f"expected {what} but found {_named(self._next)}")
        self._advance()

    def expression(self, least: int, depth: int) -> Fraction:
        value = self._operand(depth)
        while (precedence := _PRECEDENCE.get(self._next, -1)) >= least:
            operator = self._advance()
            # A power binds to the right: 2 ** 3 ** 2 is 2 ** 9.
            right = self.expression(precedence + (operator != "**"), depth + 1)
            value = _bounded(_apply(operator, value, right))
        return value

    def _operand(self, depth: int) -> Fraction:
        if depth > MAX_NESTING:
            raise ToolFailed(f"the expression is nested more than {MAX_NESTING} deep")
        match self._advance():
            case "-":
                return -self.expression(_SIGN_PRECEDENCE, depth + 1)
            case "+":
                return self.expression(_SIGN_PRECEDENCE, depth + 1)
            case "(":
                value = self.expression(0, depth + 1)
                self.expect(")")
                return value
            case other if other[:1].isdigit() or other[:1] == ".":
                return _number(other)
            case other:
                raise ToolFailed(f"expected a number but found {_named(other)}")

    def _advance(self) -> str:
        token, self._next = self._next, next(self._tokens, _END)
        return token


def _named(token: str) -> str:
    return repr(token[:20]) if token else "the end of the expression"


def _number(token: str) -> Fraction:
    exponent = token.lower().partition("e")[2].lstrip("+-")
    if len(exponent) > MAX_EXPONENT_DIGITS:
        raise ToolFailed(f"the number {token[:20]} is too large or too small")
    return _bounded(Fraction(token))


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "**":
        return _power(left, right)
    if operator in {"/", "//", "%"} and right == 0:
        raise ToolFailed("division by zero")
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case "//":
            return Fraction(left // right)
        case _:
            return left % right


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise ToolFailed("division by zero: zero has no negative power")
    if _bits(base) * abs(exponent) > MAX_BITS:
        raise ToolFailed("the value is too large")
    if exponent.denominator == 1:
        return Fraction(base**exponent.numerator)
    if base < 0:
        raise ToolFailed("a negative number has no real root of that kind")
    whole_digits = int(_bits(base) * abs(exponent) * Fraction(302, 1000))
    with localcontext(prec=ROOT_DIGITS + whole_digits):
        return Fraction(_decimal(base) ** _decimal(exponent)) if base else base


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise ToolFailed("the value is too large")
    return value
