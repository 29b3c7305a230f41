"""When a streamed request's next message goes out.

One message costs a fixed amount of work in the engine's process, in Triton and in the client,
which for a small model is more than computing a token. The first token is never held back.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coalescing:
    max_tokens: int = 32
    """Tokens in one message, at most."""
    max_delay_ms: float = 20.0
    """A message goes out at least this often, while `messages_per_s` allows it."""
    messages_per_s: float = 500.0
    """Over all streams together: with many of them each one's messages grow instead."""

    def steps_until_next(self, streams: int, step_s: float) -> int:
        """Engine steps (one token each) to wait before a stream is read again."""
        if step_s <= 0:
            return 1
        interval_s = max(self.max_delay_ms / 1e3, streams / self.messages_per_s)
        return max(1, min(self.max_tokens, int(interval_s / step_s)))
