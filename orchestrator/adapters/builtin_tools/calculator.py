"""`calculator`: the value of an arithmetic expression."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction
from typing import Any

from orchestrator.adapters.builtin_tools.expression import evaluate

EXACT_DIGITS = 20
ROUNDED_DIGITS = 10


async def calculate(arguments: Mapping[str, Any]) -> str:
    """Raises ToolFailed: it is no such expression, or its value is too large."""
    return shown(evaluate(arguments["expression"]))


def shown(value: Fraction) -> str:
    """Writes whole numbers in full and decimals of up to `EXACT_DIGITS` digits exactly.

    Others are rounded to `ROUNDED_DIGITS` after the point, or as many significant ones below 1.
    """
    if value.denominator == 1:
        return str(value.numerator)
    whole = abs(value.numerator) // value.denominator
    exact, inexact = _divided(value, EXACT_DIGITS)
    if inexact:
        exact, _ = _divided(value, (len(str(whole)) if whole else 0) + ROUNDED_DIGITS)
    return f"{exact:f}"


def _divided(value: Fraction, digits: int) -> tuple[Decimal, bool]:
    with localcontext(prec=digits) as context:
        context.clear_flags()
        quotient = (Decimal(value.numerator) / Decimal(value.denominator)).normalize()
        return quotient, bool(context.flags[Inexact])
