"""How long to wait before the next try, when tries follow each other closely."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """The first try is at once; after `calm_s` without one, the next is the first again."""

    first_s: float = 0.5
    most_s: float = 10.0
    calm_s: float = 60.0
    _tries: int = 0
    _last: float = float("-inf")

    def next_delay(self, now: float) -> float:
        if now - self._last > self.calm_s:
            self._tries = 0
        delay = 0.0 if self._tries == 0 else self.first_s * 2.0 ** (self._tries - 1)
        delay = min(self.most_s, delay)
        self._tries += 1
        self._last = now + delay
        return delay
