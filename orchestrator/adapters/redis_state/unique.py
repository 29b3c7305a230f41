"""Unique parts of ids: lower-case ULIDs, which sort by the time they were made."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80


class UniqueIds:
    """Ids of one process count up even within a millisecond, or when the clock goes back."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS
        # Half the random range stays above, for counting up.
        fresh |= secrets.randbits(_RANDOM_BITS - 1)
        self._last = max(fresh, self._last + 1)
        return _base32(self._last)


def _base32(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
