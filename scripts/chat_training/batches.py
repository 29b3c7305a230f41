"""Batches of whole conversations of like length, drawn without end and never twice."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from tokenizers import Tokenizer

from .conversation import Conversation, draw_conversation
from .template import render
from .tokenizer import assistant_mask
from .toolset import built_in_tools

_POOL = 512


class Stage(Enum):
    """What a part of the training sees: exchanges per conversation and their weights.

    BARE leaves the system turn and its tool list out: six times more of such short text is the
    assistant's, and copying numbers and keys, the slowest thing to learn, is learned there.
    """

    BARE = ((1, 2, 3, 4), (4, 3, 2, 1))
    SHORT = ((1, 2, 3), (3, 4, 3))
    FULL = ((1, 2, 3, 5, 8, 12, 18), (10, 12, 14, 12, 8, 4, 1))


@dataclass(frozen=True)
class Sample:
    ids: list[int]
    mask: list[bool]


def _encode_text(tokenizer: Tokenizer, text: str) -> Sample:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return Sample(ids, assistant_mask(tokenizer, ids))


def encode(tokenizer: Tokenizer, conversation: Conversation) -> Sample:
    return _encode_text(tokenizer, render(conversation.messages, conversation.tools))


class BatchSource:
    """`next_batch` gives about `tokens` tokens, padding included."""

    def __init__(self, tokenizer: Tokenizer, *, seed: int, tokens: int, longest: int) -> None:
        self._tokenizer, self._seed = tokenizer, seed
        self._tokens, self._longest = tokens, longest
        self._rng = random.Random(f"batches/{seed}")  # noqa: S311 (data, not secrets)
        self._drawn = 0
        self._ready: list[list[Sample]] = []
        self._stage = Stage.BARE
        self._built_in = built_in_tools()

    def enter(self, stage: Stage) -> None:
        if stage is not self._stage:
            self._stage = stage
            self._ready.clear()

    def next_batch(self) -> list[Sample]:
        if not self._ready:
            self._ready = list(self._cut(self._draw_pool()))
            self._rng.shuffle(self._ready)
        return self._ready.pop()

    def _draw(self, name: str, exchanges: int) -> Sample:
        if self._stage is not Stage.BARE:
            return encode(self._tokenizer, draw_conversation(name, exchanges=exchanges))
        conversation = draw_conversation(name, exchanges=exchanges, tools=self._built_in)
        messages = [m for exchange in conversation.exchanges for m in exchange.messages]
        return _encode_text(self._tokenizer, render(messages))

    def _draw_pool(self) -> list[Sample]:
        counts, weights = self._stage.value
        pool = []
        for exchanges in self._rng.choices(counts, weights, k=_POOL):
            sample = self._draw(f"train/{self._seed}/{self._drawn}", exchanges)
            self._drawn += 1
            if len(sample.ids) <= self._longest:
                pool.append(sample)
        return sorted(pool, key=lambda sample: len(sample.ids))

    def _cut(self, pool: Sequence[Sample]) -> Iterator[list[Sample]]:
        batch: list[Sample] = []
        for sample in pool:
            if batch and len(sample.ids) * (len(batch) + 1) > self._tokens:
                yield batch
                batch = []
            batch.append(sample)
        if batch:
            yield batch
