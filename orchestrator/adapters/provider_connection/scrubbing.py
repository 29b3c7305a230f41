"""What a provider says of an error, without what it was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CHARS = 300
QUOTE_CHARS = 16
"""A message that shares this many characters with what was sent may quote a prompt or a key."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEY = re.compile(r"\b(sk|pk|key|api[_-]?key|bearer)[-_ :*=]+\S{4,}", re.IGNORECASE)
WITHHELD = "(the reason is withheld: it quotes the request)"


def named(code: object) -> str:
    """An error's code or type, if it looks like one."""
    text = str(code) if isinstance(code, str | int) else ""
    return text if _NAME.fullmatch(text) else ""


def scrubbed(message: str, sent: Iterable[str]) -> str:
    message = _plain(message[:MAX_CHARS])
    if not message:
        return "no reason was given"
    if _KEY.search(message):
        return WITHHELD
    starts = range(max(1, len(message) - QUOTE_CHARS + 1))
    quotes = {message[at : at + QUOTE_CHARS] for at in starts}
    plain = map(_plain, sent)
    return WITHHELD if any(quote in text for text in plain for quote in quotes) else message


def _plain(text: str) -> str:
    """With single spaces for what does not print, some of which draws on a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
