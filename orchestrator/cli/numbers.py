"""Numbers that are typed in one unit and sent in a smaller one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import click

Reader = Callable[[click.Context, click.Parameter, str | None], int]


def above_zero(*, places: int = 0, largest: int = 10**9) -> Reader:
    """Reads an option as a whole number of 10^-`places`: with 3, seconds as milliseconds.

    An option that is not given is 0.
    """
    smallest = Decimal(1).scaleb(-places)

    def read(_ctx: click.Context, _param: click.Parameter, typed: str | None) -> int:
        if typed is None:
            return 0
        try:
            number = Decimal(typed)
        except InvalidOperation:
            raise click.BadParameter(f"{typed!r} is not a number.") from None
        if not number.is_finite() or not smallest <= number <= largest:
            raise click.BadParameter(f"{typed!r} is not from {smallest:f} to {largest}.")
        scaled = number.scaleb(places)
        if scaled != int(scaled):
            raise click.BadParameter(f"{typed!r} is not a multiple of {smallest:f}.")
        return int(scaled)

    return read
