"""Questions for the converter of units."""

import random
from fractions import Fraction

from .arithmetic import draw_number
from .ask import Ask

# Each unit in parts of the first of its kind.
_UNITS: tuple[dict[str, Fraction], ...] = (
    {
        "meters": Fraction(1),
        "kilometers": Fraction(1000),
        "km": Fraction(1000),
        "centimeters": Fraction(1, 100),
        "cm": Fraction(1, 100),
        "miles": Fraction("1609.344"),
        "feet": Fraction("0.3048"),
        "inches": Fraction("0.0254"),
        "yards": Fraction("0.9144"),
    },
    {
        "kilograms": Fraction(1),
        "kg": Fraction(1),
        "grams": Fraction(1, 1000),
        "pounds": Fraction("0.45359237"),
        "lb": Fraction("0.45359237"),
        "ounces": Fraction("0.028349523125"),
    },
    {
        "liters": Fraction(1),
        "milliliters": Fraction(1, 1000),
        "gallons": Fraction("3.785411784"),
    },
    {
        "hours": Fraction(3600),
        "minutes": Fraction(60),
        "seconds": Fraction(1),
        "days": Fraction(86400),
        "weeks": Fraction(604800),
    },
)
_TEMPERATURES = ("celsius", "fahrenheit")
UNIT_NAMES = (*(name for kind in _UNITS for name in kind), *_TEMPERATURES)
_PHRASES: tuple[tuple[str, bool], ...] = (
    ("convert {n} {a} to {b}", True),
    ("convert {n} {a} into {b}", True),
    ("what is {n} {a} in {b}", False),
    ("how much is {n} {a} in {b}", False),
    ("{n} {a} in {b}", False),
    ("{n} {a} to {b}", False),
)
_COUNTED: tuple[tuple[str, bool], ...] = (
    ("how many {b} are {n} {a}", False),
    ("how many {b} are in {n} {a}", False),
    ("how many {b} is {n} {a}", False),
)


def print_amount(value: Fraction) -> str:
    """Four decimals, or four digits where the value is below a tenth, as the built-in tool does."""
    decimals = 4
    if 0 < abs(value) < Fraction(1, 10):
        decimals = 3
        while abs(value) * 10 ** (decimals - 3) < 1:
            decimals += 1
    whole = round(value * 10**decimals)
    digits = f"{abs(whole):0{decimals + 1}d}"
    written = f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
    return f"-{written}" if whole < 0 else written


def convert(amount: Fraction, source: str, target: str) -> Fraction:
    if source == "celsius":
        return amount * 9 / 5 + 32
    if source == "fahrenheit":
        return (amount - 32) * 5 / 9
    kind = next(units for units in _UNITS if source in units)
    return amount * kind[source] / kind[target]


def _ask(rng: random.Random, phrase: str, amount: str, source: str, target: str) -> Ask:
    value = print_amount(convert(Fraction(amount), source, target))
    written: float = float(amount) if "." in amount else int(amount)
    return Ask(
        question=phrase.format(n=amount, a=source, b=target),
        purpose="convert_units",
        arguments=(written, source, target),
        result=f"{value} {target}" if rng.random() < 0.9 else value,
        answer=f"{amount} {source} are {value} {target}.",
        kind="conversion",
        commands=phrase.startswith("convert"),
    )


def _draw_pair(rng: random.Random) -> tuple[str, str]:
    kinds = [list(units) for units in _UNITS] + [list(_TEMPERATURES)]
    source, target = rng.sample(rng.choices(kinds, (4, 3, 2, 2, 2))[0], 2)
    return source, target


def _draw_amount(rng: random.Random) -> str:
    amount = draw_number(rng, most_digits=3)
    return amount if Fraction(amount) >= 2 else str(rng.randint(2, 9))


def draw_conversion(rng: random.Random) -> Ask:
    source, target = _draw_pair(rng)
    phrases = _PHRASES if source in _TEMPERATURES else _PHRASES + _COUNTED
    phrase, _ = rng.choice(phrases)
    return _ask(rng, phrase, _draw_amount(rng), source, target)


def draw_conversion_like(rng: random.Random, asked: Ask) -> Ask:
    """ "And 12?" or "And in feet?" after a conversion."""
    amount, source, target = asked.argument, str(asked.arguments[1]), str(asked.arguments[2])
    if source not in _TEMPERATURES and rng.random() < 0.5:
        kind = next(units for units in _UNITS if source in units)
        others = [unit for unit in kind if unit not in {source, target}]
        other = rng.choice(others or [target])
        phrase = rng.choice(("and in {b}", "what about {b}", "in {b}", "how many {b} is that"))
        return _ask(rng, phrase, amount, source, other)
    phrase = rng.choice(("and {n}", "what about {n}", "how about {n} {a}", "and {n} {a}"))
    return _ask(rng, phrase, _draw_amount(rng), source, target)
