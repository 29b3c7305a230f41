"""Texts of different lengths, laid side by side in rows of one length, so that little is padding.

First-fit decreasing; Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]

# Attention is quadratic in a row's length, the rest of the model is not: at 64 packing is nearly
# free of padding and attention still a small part.
ROW_TOKENS = 64
# Row lengths are multiples of this: OpenVINO prepares its kernels once for each new shape.
LENGTH_STEP = 8


@dataclass(frozen=True)
class PackedTexts:
    """input_ids, position_ids (from 0 in each text) and text_numbers (from 1 in each row, 0 for
    padding), all I64[rows, length]; text n lies in row rows[n] as its numbers[n]-th, from 0.
    """

    input_ids: Tokens
    position_ids: Tokens
    text_numbers: Tokens
    rows: list[int]
    numbers: list[int]


def pack(texts: Sequence[Sequence[int]]) -> PackedTexts:
    """`texts` are token ids, at least one text, none empty."""
    lengths = [len(text) for text in texts]
    capacity = max(ROW_TOKENS, *lengths)
    used: list[int] = []
    rows, starts = [0] * len(texts), [0] * len(texts)
    for text in sorted(range(len(texts)), key=lambda place: -lengths[place]):
        row = next((r for r, tokens in enumerate(used) if tokens + lengths[text] <= capacity), None)
        if row is None:
            row = len(used)
            used.append(0)
        rows[text], starts[text] = row, used[row]
        used[row] += lengths[text]
    length = capacity if len(used) > 1 else used[0]
    shape = (len(used), -(-length // LENGTH_STEP) * LENGTH_STEP)
    input_ids, position_ids, text_numbers = (np.zeros(shape, np.int64) for _ in range(3))
    numbers, held = [0] * len(texts), [0] * len(used)
    for text, tokens in enumerate(texts):
        row, start, end = rows[text], starts[text], starts[text] + lengths[text]
        numbers[text] = held[row]
        held[row] += 1
        input_ids[row, start:end] = tokens
        position_ids[row, start:end] = np.arange(lengths[text])
        text_numbers[row, start:end] = held[row]
    return PackedTexts(input_ids, position_ids, text_numbers, rows, numbers)
