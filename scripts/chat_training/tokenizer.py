"""A byte-level BPE tokenizer for the support desk: any text encodes, digits stay single."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from .conversation import draw_conversation
from .template import render

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
MAX_LENGTH_TOKENS = 2048
_TAGS = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
)
_VOCABULARY_SIZE = 1530
_CONVERSATIONS = 4000


def _texts(seed: int) -> Iterator[str]:
    for index in range(_CONVERSATIONS):
        conversation = draw_conversation(f"tokenizer/{seed}/{index}", exchanges=4)
        yield render(conversation.messages, conversation.tools)


def train_tokenizer(seed: int, texts: Iterable[str] | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts if texts is not None else _texts(seed), trainer)
    # Tags are tokens, yet not special ones: a detokenizer that skips those would drop the calls.
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in _TAGS])
    return tokenizer


def load_tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def assistant_mask(tokenizer: Tokenizer, ids: list[int]) -> list[bool]:
    """True for each token that the assistant has to write, its end of turn included."""
    head = tokenizer.encode(f"{TURN_START}assistant\n", add_special_tokens=False).ids
    end = tokenizer.token_to_id(TURN_END)
    mask, writing = [False] * len(ids), False
    for position, token in enumerate(ids):
        mask[position] = writing
        if writing and token == end:
            writing = False
        if ids[max(0, position + 1 - len(head)) : position + 1] == head:
            writing = True
    return mask
