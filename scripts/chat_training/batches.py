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
    """What a part of the training sees.

    COPY: random tokens, then the same once more; a model that has learned to copy learns the rest
    sooner. BARE: conversations without the system turn and its tool list, so that most of the text
    is what counts. SHORT and FULL: conversations as they are.
    """

    COPY = "copy"
    BARE = "bare"
    SHORT = "short"
    FULL = "full"


# Exchanges per conversation and their weights.
_EXCHANGES = {
    Stage.BARE: ((1, 2, 3, 4), (4, 3, 2, 1)),
    Stage.SHORT: ((1, 2, 3), (3, 4, 3)),
    Stage.FULL: ((1, 2, 3, 5, 8, 12, 18), (10, 12, 14, 12, 8, 4, 1)),
}
# Small batches take more steps in the same time, which early training gains most from.
_PART_OF_BATCH = {Stage.COPY: 0.33, Stage.BARE: 0.33, Stage.SHORT: 0.67, Stage.FULL: 1.0}


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
    """`next_batch` gives about `tokens` tokens, padding included; fewer in the first stages."""

    def __init__(self, tokenizer: Tokenizer, *, seed: str, tokens: int, longest: int) -> None:
        self._tokenizer, self._seed = tokenizer, seed
        self._tokens, self._longest = tokens, longest
        self._rng = random.Random(f"batches/{seed}")  # noqa: S311 (data, not secrets)
        self._drawn = 0
        self._ready: list[list[Sample]] = []
        self._stage = Stage.COPY
        self._digits = tokenizer.encode("0123456789").ids
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

    def _draw_copy(self) -> Sample:
        rng, vocabulary = self._rng, range(self._tokenizer.get_vocab_size())
        mostly = self._digits if rng.random() < 0.5 else vocabulary
        length = rng.randint(6, 30)
        part = [rng.choice(mostly if rng.random() < 0.8 else vocabulary) for _ in range(length)]
        gap = rng.choices(vocabulary, k=rng.randint(0, 8))
        # The first token after the gap is as random as the gap.
        unknown = len(part) + len(gap) + 1
        return Sample(part + gap + part, [False] * unknown + [True] * (length - 1))

    def _draw_pool(self) -> list[Sample]:
        if self._stage is Stage.COPY:
            pool = [self._draw_copy() for _ in range(_POOL)]
        else:
            pool = []
            for exchanges in self._rng.choices(*_EXCHANGES[self._stage], k=_POOL):
                pool.append(self._draw(f"train/{self._seed}/{self._drawn}", exchanges))
                self._drawn += 1
        fitting = [sample for sample in pool if len(sample.ids) <= self._longest]
        return sorted(fitting, key=lambda sample: len(sample.ids))

    def _cut(self, pool: Sequence[Sample]) -> Iterator[list[Sample]]:
        most = self._tokens * _PART_OF_BATCH[self._stage]
        batch: list[Sample] = []
        for sample in pool:
            if batch and len(sample.ids) * (len(batch) + 1) > most:
                yield batch
                batch = []
            batch.append(sample)
        if batch:
            yield batch
