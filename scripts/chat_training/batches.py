"""Batches of whole conversations of like length, drawn without end and never twice."""

import random
from collections.abc import Container, Iterator, Sequence
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
    Stage.FULL: ((1, 2, 4, 6, 9, 13), (4, 5, 10, 14, 14, 8)),
}
# Small batches take more steps in the same time, which early training gains most from.
_PART_OF_BATCH = {Stage.COPY: 0.33, Stage.BARE: 0.33, Stage.SHORT: 0.67, Stage.FULL: 1.0}


@dataclass(frozen=True)
class Sample:
    ids: list[int]
    mask: list[bool]


def encode(
    tokenizer: Tokenizer,
    conversation: Conversation,
    *,
    bare: bool = False,
    unlearned: Container[str] = (),
) -> Sample:
    """`bare` leaves the system turn out; turns of `unlearned` categories are read, not learned."""
    messages = [m for exchange in conversation.exchanges for m in exchange.messages]
    text = render(messages) if bare else render(conversation.messages, conversation.tools)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    mask = assistant_mask(tokenizer, ids)
    categories = [
        exchange.category
        for exchange in conversation.exchanges
        for message in exchange.messages
        if message["role"] == "assistant"
    ]
    return Sample(ids, _without(mask, [name in unlearned for name in categories]))


def _without(mask: Sequence[bool], dropped: Sequence[bool]) -> list[bool]:
    """The mask without its runs whose number is dropped."""
    kept, run = [], -1
    for position, wanted in enumerate(mask):
        run += wanted and not (position and mask[position - 1])
        kept.append(wanted and not dropped[run])
    return kept


class BatchSource:
    """`next_batch` gives about `tokens` tokens, padding included; fewer in the first stages."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: str,
        tokens: int,
        longest: int,
        unlearned: Container[str] = (),
    ) -> None:
        self._tokenizer, self._seed, self._unlearned = tokenizer, seed, unlearned
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
        bare = self._stage is Stage.BARE
        tools = self._built_in if bare else None
        conversation = draw_conversation(name, exchanges=exchanges, tools=tools)
        return encode(self._tokenizer, conversation, bare=bare, unlearned=self._unlearned)

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
        fitting = [s for s in pool if len(s.ids) <= self._longest and any(s.mask)]
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
