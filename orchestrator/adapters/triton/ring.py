"""Which replica a session belongs to, and which come next."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from hashlib import blake2b

POINTS = 128
"""Of each replica on the ring: as many keep their shares within some 10 % of each other."""


class Ring:
    """Consistent hashing: a place that comes or goes moves no more than its own sessions."""

    def __init__(self, places: Sequence[str]) -> None:
        points = sorted((_hash(f"{place}#{n}"), place) for place in places for n in range(POINTS))
        self._hashes = [point for point, _ in points]
        self._places = [place for _, place in points]
        self._count = len(set(places))

    def order(self, key: str) -> Iterator[str]:
        """Yields every place once, the key's own one first."""
        start, seen = bisect.bisect(self._hashes, _hash(key)), set[str]()
        for step in range(len(self._places)):
            place = self._places[(start + step) % len(self._places)]
            if place not in seen:
                seen.add(place)
                yield place
            if len(seen) == self._count:
                return


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
