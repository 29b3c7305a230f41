"""`convert_units`: an amount in another unit."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from orchestrator.adapters.builtin_tools.registry import ToolFailed

if TYPE_CHECKING:
    from orchestrator.adapters.builtin_tools.measures import Measures

MAX_AMOUNT = 10**18
PLACES = 4
SMALL = Fraction(1, 10)
SIGNIFICANT_DIGITS = 4
"""Of a number below `SMALL`."""


class Converter:
    def __init__(self) -> None:
        self._making: asyncio.Future[Measures] | None = None

    async def convert(self, arguments: Mapping[str, Any]) -> str:
        """Raises ToolFailed: no such unit, one of another kind, or no amount to work with."""
        amount = _exact(arguments["amount"])
        source, target = (" ".join(arguments[end].split()) for end in ("from", "to"))
        measures = await self._measures()
        return f"{shown(measures.convert(amount, source, target))} {target}"

    async def _measures(self) -> Measures:
        if self._making is None:
            self._making = asyncio.ensure_future(asyncio.to_thread(_make))
        return await asyncio.shield(self._making)  # who gives up leaves it to the others


def _make() -> Measures:
    from orchestrator.adapters.builtin_tools.measures import Measures  # noqa: PLC0415 - pint

    return Measures()


def _exact(amount: float) -> Fraction:
    if isinstance(amount, float) and not math.isfinite(amount):
        raise ToolFailed(f"the amount must be a finite number, not {amount}")
    if abs(amount) > MAX_AMOUNT:
        raise ToolFailed(f"the amount is too large: it may be up to {MAX_AMOUNT}")
    return Fraction(repr(amount))


def shown(value: Fraction) -> str:
    """Without exponent: `PLACES` after the point, for small numbers `SIGNIFICANT_DIGITS`."""
    if abs(value) < SMALL:
        with localcontext(prec=SIGNIFICANT_DIGITS):
            return f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():f}"
    whole, rest = divmod(round(abs(value) * 10**PLACES), 10**PLACES)
    decimals = f"{rest:0{PLACES}}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"
