import importlib
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

packing = importlib.import_module("model_repository.embedder.1.packing")

texts = st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=256), min_size=1)


@settings(deadline=None)
@given(texts)
def test_every_text_is_read_back_from_its_place(texts: list[list[int]]) -> None:
    packed = packing.pack(texts)

    for text, row, number in zip(texts, packed.rows, packed.numbers, strict=True):
        here = packed.text_numbers[row] == number + 1
        assert packed.input_ids[row][here].tolist() == text
        assert packed.position_ids[row][here].tolist() == list(range(len(text)))


@settings(deadline=None)
@given(texts)
def test_what_belongs_to_no_text_is_padding(texts: list[list[int]]) -> None:
    packed = packing.pack(texts)

    padding = packed.text_numbers == 0
    assert (~padding).sum() == sum(map(len, texts))
    assert not packed.input_ids[padding].any()


@settings(deadline=None)
@given(texts)
def test_rows_are_as_long_as_the_longest_text_or_64_and_in_steps_of_8(
    texts: list[list[int]],
) -> None:
    length = packing.pack(texts).input_ids.shape[1]

    assert length % packing.LENGTH_STEP == 0
    assert length < max(packing.ROW_TOKENS, *map(len, texts)) + packing.LENGTH_STEP


def test_short_texts_share_a_row() -> None:
    packed: Any = packing.pack([[1] * 20, [2] * 30, [3] * 14, [4] * 60])

    assert packed.input_ids.shape == (2, 64)
    assert np.count_nonzero(packed.text_numbers) == 124
