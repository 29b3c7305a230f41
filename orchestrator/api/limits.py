"""How large and how many: the bounds of what a caller may send."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orchestrator.domain.errors import InvalidInput

INPUT_BYTES = 256 * 1024
SYSTEM_PROMPT_BYTES = 64 * 1024
DESCRIPTION_BYTES = 4 * 1024
REQUEST_ID_BYTES = 128
NAME_BYTES = 128
LABELS = 32
LABEL_KEY_BYTES = 64
LABEL_VALUE_BYTES = 256
TEXTS = 256
TEXT_BYTES = 8 * 1024
NAMES = 64
STOPS = 16
STOP_BYTES = 256
MESSAGES = 512
MESSAGES_BYTES = 1024 * 1024
ARGUMENTS_BYTES = 64 * 1024
RESULT_BYTES = 64 * 1024
SCHEMA_BYTES = 16 * 1024
SCHEMAS_BYTES = 64 * 1024
ENTRY_ID_BYTES = 100
TOOL_CALLS = 64
PAGE_SIZE = 500
PAGE_TOKEN_BYTES = 1024
DEFAULT_PAGE_SIZE = 50
PAGE_BYTES = 1024 * 1024
TIMEOUT_MS = 3_600_000
INTERRUPT_TIMEOUT_MS = 7 * 86_400_000
NEW_TOKENS = 1_000_000
SEED = 2**63 - 1
COUNT = 2**53 - 1
"""The largest whole number that every part can hold, Redis's scripts among them."""
PRIORITY = 1

_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def text(value: str, field: str, *, max_bytes: int, required: bool = False) -> None:
    if required and not value.strip():
        raise InvalidInput(f"{field} is empty: it is required", field=field, reason="REQUIRED")
    size = len(value.encode())
    if size > max_bytes:
        raise InvalidInput(
            f"{field} has {size} bytes: at most {max_bytes} are allowed",
            field=field,
            reason="TOO_LARGE",
        )


def count(items: Sequence[object], field: str, *, at_least: int = 0, at_most: int) -> None:
    if len(items) < at_least:
        raise InvalidInput(
            f"{field} has {len(items)} entries: at least {at_least} are needed",
            field=field,
            reason="REQUIRED",
        )
    if len(items) > at_most:
        raise InvalidInput(
            f"{field} has {len(items)} entries: at most {at_most} are allowed",
            field=field,
            reason="TOO_LARGE",
        )


def number(value: int, field: str, *, at_least: int = 0, at_most: int) -> None:
    if not at_least <= value <= at_most:
        raise InvalidInput(
            f"{field} is {value}: it has to be from {at_least} to {at_most}",
            field=field,
            reason="OUT_OF_BOUNDS",
        )


def texts(values: Sequence[str]) -> None:
    count(values, "texts", at_least=1, at_most=TEXTS)
    for i, value in enumerate(values):
        text(value, f"texts[{i}]", max_bytes=TEXT_BYTES, required=True)


def known_name(value: str, field: str, *, known: Mapping[str, object], what: str) -> None:
    if value not in known:
        there = ", ".join(sorted(known)) or "none"
        raise InvalidInput(
            f"{field} {value[:NAME_BYTES]!r} is not a {what}; there are: {there}",
            field=field,
            reason=f"UNKNOWN_{what.upper()}",
        )


def names(values: Sequence[str], field: str, *, known: Mapping[str, object], what: str) -> None:
    """Checks that each name is known and given once."""
    count(values, field, at_most=NAMES)
    for i, value in enumerate(values):
        known_name(value, f"{field}[{i}]", known=known, what=what)
        if value in values[:i]:
            raise InvalidInput(f"{field}[{i}] {value!r} is given twice", field=f"{field}[{i}]")


def labels(values: Mapping[str, str]) -> None:
    count(tuple(values), "labels", at_most=LABELS)
    for key, value in values.items():
        text(key, "labels", max_bytes=LABEL_KEY_BYTES, required=True)
        text(value, f"labels[{key!r}]", max_bytes=LABEL_VALUE_BYTES)


def request_id(value: str) -> None:
    text(value, "request_id", max_bytes=REQUEST_ID_BYTES, required=True)
    if not _PRINTABLE.fullmatch(value):
        raise InvalidInput(
            f"request_id {value!r} has characters other than visible ASCII", field="request_id"
        )


def page(size: int, token: str) -> int:
    """Returns the page size to use for the one asked for; 0 asks for the default."""
    number(size, "page_size", at_most=PAGE_SIZE)
    text(token, "page_token", max_bytes=PAGE_TOKEN_BYTES)
    return size or DEFAULT_PAGE_SIZE


def timeout(value_ms: int, field: str = "timeout", *, at_most_ms: int = TIMEOUT_MS) -> None:
    if not 0 <= value_ms <= at_most_ms:
        raise InvalidInput(
            f"{field} is {value_ms / 1000:g} s: it has to be from 0 to {at_most_ms // 1000} s",
            field=field,
            reason="OUT_OF_BOUNDS",
        )
