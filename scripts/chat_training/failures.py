"""What a tool says when it fails: the built-in tools' sentences and others."""

import random

from .ask import Ask
from .vocabulary import ERRORS

_OF_TOOL = {
    "calculator": ("division by zero", "the value is too large"),
    "current_time": (
        "there is no time zone {a!r}; "
        "use an IANA name such as Europe/Paris or UTC, or a large city",
    ),
    "convert_units": (
        "there is no unit {b!r}; use names such as kilometers, pounds or celsius",
        "cannot convert {b} to {c}",
    ),
    "lookup": (
        "there is no record {a!r}; orders have keys such as A1042, products such as P07",
        "there is no record {a!r}; orders have keys such as A1042, products such as P07",
        "no record with key {a}",
    ),
}
_OF_ANY = (*ERRORS, "cannot read {a}", "{t} failed", "{t} took longer than {s} s")


def draw_error(rng: random.Random, ask: Ask) -> str:
    own = _OF_TOOL.get(ask.purpose, ())
    error = rng.choice(own if own and rng.random() < 0.55 else _OF_ANY)
    a, b, c = (*ask.arguments, "", "")[:3]
    return error.format(a=str(a), b=b, c=c, t=ask.purpose, s=rng.randint(1, 30))
