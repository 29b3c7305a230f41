"""How a question is worded: what is left of it without its numbers, keys, names and courtesies."""

import hashlib
import re
from collections.abc import Iterable

from scripts.chat_training.conversation import PREFIXES, SUFFIXES
from scripts.chat_training.conversions import UNIT_NAMES
from scripts.chat_training.vocabulary import CITIES, COUNTRIES, CURRENCIES, CUSTOMERS, ITEMS

_HELD_OUT_OF = 4
_SALT = "200"


def _any_of(names: Iterable[str]) -> str:
    longest_first = sorted({name.lower() for name in names}, key=len, reverse=True)
    return rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b"


_NAMED = (
    (re.compile(r"#?\b[ap]-?\d+\b|#\d+"), "KEY"),
    (re.compile(r"\d+(?:\.\d+)?"), "N"),
    (re.compile(_any_of(city for city, _ in CITIES)), "PLACE"),
    (re.compile(_any_of(UNIT_NAMES)), "UNIT"),
    (re.compile(_any_of(CURRENCIES)), "CURRENCY"),
    (re.compile(_any_of(COUNTRIES)), "PLACE"),
    (re.compile(_any_of(CUSTOMERS)), "PERSON"),
    (re.compile(rf"{_any_of(ITEMS)[:-2]}s?\b"), "THING"),
)
_COURTESY = re.compile(
    f"^(?:{'|'.join(map(re.escape, PREFIXES))})|(?:{'|'.join(map(re.escape, SUFFIXES))})$"
)


def wording(text: str) -> str:
    """The same for questions that differ in what they name, or in a greeting around it."""
    plain = text.lower().strip().rstrip("?!. ")
    plain = _COURTESY.sub("", plain).replace("'s ", " is ")
    for pattern, placeholder in _NAMED:
        plain = pattern.sub(placeholder, plain)
    return re.sub(r"(?<=[N)])(?=[-+*/x])|(?<=[-+*/x])(?=[N(])", " ", plain)


def is_held_out(said: str) -> bool:
    """Whether this wording, one in four by its hash, is kept from the router's training."""
    return hashlib.sha256(f"{_SALT}:{said}".encode()).digest()[0] % _HELD_OUT_OF == 0
