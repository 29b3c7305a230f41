"""What a tool said, made fit to be shown: data of bounded size, never interpreted."""

from __future__ import annotations

import re

DEFAULT_MAX_BYTES = 16_384
MIN_BYTES = 256

# C0 but tab and newline, DEL, C1, and halves of surrogate pairs.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(content: str, *, max_bytes: int = DEFAULT_MAX_BYTES) -> str:
    """Returns `content` in at most `max_bytes` of UTF-8 with no control characters.

    What is left out is counted, in bytes of the cleaned text, by a marker at the end.
    """
    text = _UNSAFE.sub("\ufffd", content.replace("\r\n", "\n"))
    data = text.encode()
    if len(data) <= max_bytes:
        return text
    # The marker's number is at most as long as the size itself.
    room = max_bytes - len(_marker(len(data)).encode())
    kept = data[:room].decode(errors="ignore")
    return kept + _marker(len(data) - len(kept.encode()))


def _marker(left_out: int) -> str:
    return f"\n[{left_out} bytes left out]"
