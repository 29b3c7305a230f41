from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.openvino_genai.detokenizer import (
    Detokenizer,
    TableDetokenizer,
    WindowDetokenizer,
    detokenizer_for,
)

BYTES = {bytes([i]): i for i in range(256)}
END = 256


def decode_bytes(batches: Sequence[Sequence[int]], skip_special: bool) -> list[str]:
    """A byte-level vocabulary with one special token."""
    spelled = {END: b"" if skip_special else b"<end>"}
    return [
        b"".join(spelled.get(one, bytes([one % 256])) for one in ids).decode(errors="replace")
        for ids in batches
    ]


WORDS = ["▁the", "▁cat", "s", "▁sat"]


def decode_words(batches: Sequence[Sequence[int]], skip_special: bool) -> list[str]:
    """A vocabulary whose leading space shows only inside a text."""
    return ["".join(WORDS[one] for one in ids).replace("▁", " ").lstrip() for ids in batches]


def shown(detokenizer: Detokenizer, ids: Sequence[int], *, skip_special: bool = True) -> list[str]:
    stream = detokenizer.open(skip_special=skip_special)
    return [*(stream.feed([one]) for one in ids), stream.close()]


def byte_level() -> Detokenizer:
    return detokenizer_for({**BYTES, b"<end>": END}, decode_bytes)


def test_a_byte_level_vocabulary_is_read_from_a_table() -> None:
    assert isinstance(byte_level(), TableDetokenizer)


def test_special_tokens_are_shown_only_when_asked_for() -> None:
    assert "".join(shown(byte_level(), [65, END, 66])) == "AB"
    assert "".join(shown(byte_level(), [65, END, 66], skip_special=False)) == "A<end>B"


def test_any_other_vocabulary_goes_through_the_model() -> None:
    vocabulary = {word.encode(): i for i, word in enumerate(WORDS)}
    found = detokenizer_for(vocabulary, decode_words)
    assert isinstance(found, WindowDetokenizer)
    assert shown(found, [0, 1, 2, 3]) == ["the", " cat", "s", " sat", ""]


def test_without_a_vocabulary_the_model_is_asked() -> None:
    assert isinstance(detokenizer_for({}, decode_words), WindowDetokenizer)


@settings(deadline=None)
@given(st.text(max_size=20), st.integers(1, 5))
def test_both_ways_send_the_same_text_in_whole_characters(text: str, size: int) -> None:
    ids = list(text.encode())
    for detokenizer in (byte_level(), WindowDetokenizer(decode_bytes)):
        stream = detokenizer.open(skip_special=True)
        parts = [stream.feed(ids[at : at + size]) for at in range(0, len(ids), size)]
        parts.append(stream.close())
        assert "".join(parts) == text
        if "\N{REPLACEMENT CHARACTER}" not in text:
            assert not any("\N{REPLACEMENT CHARACTER}" in part for part in parts)
