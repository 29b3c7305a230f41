"""The engine called directly: what being served is compared with."""

from typing import Protocol

NEW_TOKENS = 64
# Special tokens are shown, so that every token is text and one token can be one message.
SAMPLING: dict[str, object] = {
    "temperature": 0,
    "max_tokens": NEW_TOKENS,
    "ignore_eos": True,
    "skip_special_tokens": False,
}


class Direct(Protocol):
    def run(self, texts: list[str]) -> tuple[float, list[str]]:
        """The seconds that all prompts at once took, and the answers."""

    def plain(self, text: str) -> str:
        """A served answer as `run` returns it."""
