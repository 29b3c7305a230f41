"""Questions for the calculator."""

import random
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction

from .ask import Ask

_BINARY: dict[str, tuple[tuple[str, bool], ...]] = {
    # phrase with {a} and {b} in the order of the expression, and whether it is a command
    "+": (
        ("what is {a} plus {b}", False),
        ("add {a} and {b}", True),
        ("add {b} to {a}", True),
        ("what is the sum of {a} and {b}", False),
        ("how much is {a} plus {b}", False),
        ("{a} plus {b}", False),
    ),
    "-": (
        ("what is {a} minus {b}", False),
        ("subtract {b} from {a}", True),
        ("take {b} away from {a}", True),
        ("how much is {a} minus {b}", False),
        ("what is {a} less {b}", False),
        ("{a} minus {b}", False),
    ),
    "*": (
        ("what is {a} times {b}", False),
        ("how much is {a} times {b}", False),
        ("multiply {a} by {b}", True),
        ("what is {a} multiplied by {b}", False),
        ("what is the product of {a} and {b}", False),
        ("{a} times {b}", False),
    ),
    "/": (
        ("what is {a} divided by {b}", False),
        ("divide {a} by {b}", True),
        ("how much is {a} divided by {b}", False),
        ("how much is {a} over {b}", False),
        ("{a} divided by {b}", False),
    ),
}
_SYMBOLIC: tuple[tuple[str, bool], ...] = (
    ("what is {e}", False),
    ("what is {e}", False),
    ("how much is {e}", False),
    ("calculate {e}", True),
    ("compute {e}", True),
    ("work out {e}", True),
    ("what does {e} come to", False),
    ("solve {e}", True),
    ("{e}", False),
)
_FOLLOW_UPS: tuple[tuple[str, str], ...] = (
    ("twice that", "* 2"),
    ("three times that", "* 3"),
    ("half of that", "/ 2"),
    ("{n} times that", "* {n}"),
    ("that times {n}", "* {n}"),
    ("that plus {n}", "+ {n}"),
    ("plus {n}", "+ {n}"),
    ("minus {n}", "- {n}"),
    ("that minus {n}", "- {n}"),
    ("divided by {n}", "/ {n}"),
    ("that divided by {n}", "/ {n}"),
    ("times {n}", "* {n}"),
)


def draw_number(rng: random.Random, *, most_digits: int = 4) -> str:
    digits = rng.randint(1, most_digits)
    number = rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)
    if rng.random() < 0.12:
        # Runs of one digit are where copying goes wrong: 1000, 77, 9999.
        number = rng.choice((int(str(rng.randint(1, 9)) * digits), 10 ** (digits - 1)))
    if rng.random() < 0.08:
        return f"{number}.{rng.randint(1, 9)}"
    return str(number)


def evaluate(rng: random.Random, terms: list[str]) -> str:
    """The value of `a op b [op c]` as the built-in calculator prints it, or at times as others do.

    The first three terms may stand in brackets: `(a op b) op c`.
    """
    values = [Fraction(terms[0].removeprefix("("))]
    for operator, term in zip(terms[1::2], terms[2::2], strict=True):
        _apply(values, operator, Fraction(term.removesuffix(")")))
        if term.endswith(")"):
            values = [sum(values, Fraction(0))]
    return _print(sum(values, Fraction(0)), decimals=rng.choice((10, 10, 10, 4, 2)))


def _apply(values: list[Fraction], operator: str, operand: Fraction) -> None:
    if operator == "*":
        values[-1] *= operand
    elif operator == "/":
        values[-1] /= operand
    else:
        values.append(operand if operator == "+" else -operand)


def _print(value: Fraction, *, decimals: int) -> str:
    """Exact where 20 digits suffice, else rounded to `decimals` after the point."""
    with localcontext(prec=20) as context:
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        if not context.flags[Inexact]:
            return f"{exact.normalize():f}"
        whole = abs(value.numerator) // value.denominator
        context.prec = (len(str(whole)) if whole else 0) + decimals
        return f"{(+exact).normalize():f}"


def _sum(rng: random.Random, question: str, terms: list[str], *, command: bool) -> Ask:
    expression = " ".join(terms)
    value = evaluate(rng, terms)
    return Ask(
        question=question,
        purpose="calculator",
        arguments=(expression,),
        result=value,
        answer=f"{expression} = {value}.",
        kind="sum",
        number=value,
        commands=command,
    )


def draw_sum(rng: random.Random) -> Ask:
    operator = rng.choice("++--***//")
    a, b = draw_number(rng), draw_number(rng)
    if operator == "/" and float(b) == 0:
        b = str(rng.randint(2, 12))
    if operator == "/" and rng.random() < 0.4:
        b = str(rng.randint(2, 25))
        a = str(int(b) * rng.randint(2, 300))
    style = rng.random()
    if style < 0.5:
        phrase, command = rng.choice(_BINARY[operator])
        return _sum(rng, phrase.format(a=a, b=b), [a, operator, b], command=command)
    terms = [a, operator, b]
    if style > 0.9:
        terms += [rng.choice("+-*"), draw_number(rng, most_digits=3)]
        if operator in "+-" and rng.random() < 0.5:
            terms = [f"({a}", operator, f"{b})", *terms[3:]]
    expression = " ".join(terms)
    shown = expression
    looks = rng.random()
    if looks < 0.15:
        shown = expression.replace(" ", "")
    elif looks < 0.25:
        shown = expression.replace("*", "x")
    phrase, command = rng.choice(_SYMBOLIC)
    return _sum(rng, phrase.format(e=shown), terms, command=command)


def draw_sum_on(rng: random.Random, number: str) -> Ask:
    """A question about the number that the last answer gave."""
    phrase, change = rng.choice(_FOLLOW_UPS)
    n = str(rng.randint(2, 9) if rng.random() < 0.4 else rng.randint(10, 999))
    terms = [number, *change.format(n=n).split(" ")]
    lead = rng.choice(("and ", "and ", "what is ", "and what is ", "now ", ""))
    return _sum(rng, lead + phrase.format(n=n), terms, command=False)


def draw_total(rng: random.Random, *, key: str, price: str) -> Ask:
    """What several pieces of a product cost, once its price is known."""
    count = str(rng.randint(2, 60))
    terms = [price, "*", count]
    ask = _sum(rng, "", terms, command=False)
    question = rng.choice(
        ("what do {n} of them cost", "how much are {n} of them", "and {n} of them")
    ).format(n=count)
    return Ask(
        question=question,
        purpose="calculator",
        arguments=ask.arguments,
        result=ask.result,
        answer=f"{count} of {key} cost {ask.result} USD.",
        kind="total",
        number=ask.result,
    )
