"""Text as EBNF that the engine reads as it is meant.

The engine prints a grammar and reads it again, and then takes a character that it prints as
`\\xNN` (control characters, DEL, Latin-1) together with a hexadecimal digit after it. In a class
of its own, or at the end of one, such a character is followed by none.
"""

from collections.abc import Iterable
from itertools import groupby


def literal(text: str) -> str:
    """An expression that needs no parentheses before or after others, but for a repetition."""
    parts = []
    for printed, run in groupby(text, is_printed_in_hex):
        chars = "".join(run)
        if printed:
            parts += [f"[{_hex(char)}]" for char in chars]
        else:
            parts.append('"' + "".join("\\" + c if c in '"\\' else c for c in chars) + '"')
    return " ".join(parts) or '""'


def class_of(parts: Iterable[str], *, negated: bool) -> str:
    """A class of characters; parts are single characters or ranges, escaped."""
    ordered = sorted(parts, key=lambda part: "\\" in part or is_printed_in_hex(part[-1]))
    return f"[{'^' if negated else ''}{''.join(ordered)}]"


def is_printed_in_hex(char: str) -> bool:
    return ord(char) < 32 or 127 <= ord(char) <= 255


def _hex(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 128 else char
