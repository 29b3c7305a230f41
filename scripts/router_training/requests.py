import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADS = ("task", "complexity", "risk")
TRAIN, HELD_OUT, NEW_PHRASING = SPLITS = ("train", "held_out", "new_phrasing")
# The order of each head's output. Labels that are only in the data follow these, sorted.
LABEL_ORDER = {
    "task": ("arithmetic", "lookup", "time", "conversation", "reasoning", "code"),
    "complexity": ("simple", "moderate", "hard"),
    "risk": ("low", "elevated", "high"),
}


class InvalidDataError(ValueError):
    """A line of a labelled file that cannot be used; the message starts with file:line."""


@dataclass(frozen=True)
class LabelledRequest:
    text: str
    labels: dict[str, str]
    """Head → label. A line of a file has all of them, a question to the desk the complexity."""
    family: str
    """Requests of one phrasing; cross-validation never splits a family."""
    split: str


def load_requests(path: Path) -> list[LabelledRequest]:
    """Read JSON lines {"text", "task", "complexity", "risk", "family"?, "split"?}.

    Without "split" one text in five is held out, by its hash. Raises InvalidDataError.
    """
    requests: list[LabelledRequest] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        request = _parse(place, line)
        if request.text in first_line:
            raise InvalidDataError(
                f"{place}: the same text as line {first_line[request.text]}: {request.text!r}"
            )
        first_line[request.text] = number
        requests.append(request)
    for split in (TRAIN, HELD_OUT):
        if not any(request.split == split for request in requests):
            raise InvalidDataError(f"{path}: no request in the split {split!r}; add more lines")
    return requests


def label_order(head: str, requests: Iterable[LabelledRequest]) -> list[str]:
    present = {request.labels[head] for request in requests}
    known = [label for label in LABEL_ORDER[head] if label in present]
    return known + sorted(present.difference(known))


def _parse(place: str, line: bytes) -> LabelledRequest:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InvalidDataError(f"{place}: not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidDataError(f"{place}: want a JSON object, found {type(fields).__name__}")
    unknown = sorted(fields.keys() - {"text", *HEADS, "family", "split"})
    if unknown:
        raise InvalidDataError(
            f"{place}: unknown field {unknown[0]!r}; known are text, "
            f"{', '.join(HEADS)}, family, split"
        )
    text = _string(place, fields, "text")
    split = fields.get("split", _split_by_hash(text))
    if split not in SPLITS:
        raise InvalidDataError(f"{place}: split is {split!r}, want one of {', '.join(SPLITS)}")
    labels = {head: _string(place, fields, head) for head in HEADS}
    family = _string(place, fields, "family") if "family" in fields else text
    return LabelledRequest(text, labels, family, split)


def _string(place: str, fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        found = "it is missing" if name not in fields else f"found {value!r}"
        raise InvalidDataError(f"{place}: {name} must be a string that is not blank; {found}")
    return value


def _split_by_hash(text: str) -> str:
    return HELD_OUT if hashlib.sha256(text.encode()).digest()[0] % 5 == 0 else TRAIN
