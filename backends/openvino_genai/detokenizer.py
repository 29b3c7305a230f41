"""Token ids to text, a few at a time.

A byte-level vocabulary is a table from id to bytes, and a thousand times cheaper to read than to
run the detokenizer's model for every piece. Whether a vocabulary is one is found out by
comparing; any other goes through the model, with a window of earlier tokens so that what depends
on its neighbours (leading spaces, byte fallbacks) comes out right.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from backends.llm_serving.text import Utf8Stream

Decode = Callable[[Sequence[Sequence[int]], bool], list[str]]
"""Token id lists, and whether to skip special tokens."""

_PROBES = 2048
_PROBE_LENGTH = 8
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TextStream(ABC):
    @abstractmethod
    def feed(self, ids: Sequence[int]) -> str: ...

    @abstractmethod
    def close(self) -> str: ...


class Detokenizer(ABC):
    @abstractmethod
    def open(self, *, skip_special: bool) -> TextStream: ...


class _TableStream(TextStream):
    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._text = Utf8Stream()

    def feed(self, ids: Sequence[int]) -> str:
        table = self._table
        return self._text.feed(b"".join([table[one] for one in ids]))

    def close(self) -> str:
        return self._text.close()


class TableDetokenizer(Detokenizer):
    def __init__(self, table: Sequence[bytes], special: frozenset[int]) -> None:
        self._full = table
        self._plain = [b"" if i in special else one for i, one in enumerate(table)]

    def open(self, *, skip_special: bool) -> TextStream:
        return _TableStream(self._plain if skip_special else self._full)


class _WindowStream(TextStream):
    """Decodes from a token before the unsent ones, and sends what the longer text adds."""

    def __init__(self, decode: Decode, *, skip_special: bool) -> None:
        self._decode = decode
        self._skip_special = skip_special
        self._ids: list[int] = []
        self._start = 0
        self._sent = 0

    def feed(self, ids: Sequence[int]) -> str:
        self._ids += ids
        before, after = self._texts()
        if len(after) <= len(before) or after.endswith(_UNFINISHED):
            return ""
        self._start, self._sent = self._sent, len(self._ids)
        return after[len(before) :]

    def close(self) -> str:
        before, after = self._texts()
        return after[len(before) :]

    def _texts(self) -> tuple[str, str]:
        window = self._ids[self._start :]
        known = self._ids[self._start : self._sent]
        if not known:
            return "", self._decode([window], self._skip_special)[0]
        before = self._decode([known], self._skip_special)[0]
        return before, self._decode([window], self._skip_special)[0]


class WindowDetokenizer(Detokenizer):
    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def open(self, *, skip_special: bool) -> TextStream:
        return _WindowStream(self._decode, skip_special=skip_special)


def detokenizer_for(vocabulary: Mapping[bytes, int], decode: Decode) -> Detokenizer:
    """`decode` is the reference; it is asked about a sample of the vocabulary."""
    if not vocabulary:
        return WindowDetokenizer(decode)
    table = [b""] * (max(vocabulary.values()) + 1)
    for text, token in vocabulary.items():
        table[token] = text
    singles = [[token] for token in sorted(vocabulary.values())]
    shown = decode(singles, True)
    spelled = decode(singles, False)
    special = frozenset(
        one[0] for one, plain, full in zip(singles, shown, spelled, strict=True) if plain != full
    )
    found = TableDetokenizer(table, special)
    step = max(1, len(singles) * _PROBE_LENGTH // _PROBES)
    ids = [one[0] for one in singles]
    probes = [
        list(itertools.islice(ids, at, at + _PROBE_LENGTH)) for at in range(0, len(ids), step)
    ]
    for length in {len(probe) for probe in probes}:
        same = [probe for probe in probes if len(probe) == length] + (
            singles if length == 1 else []
        )
        for probe, shown_text in zip(same, decode(same, True), strict=True):
            stream = found.open(skip_special=True)
            if stream.feed(probe) + stream.close() != shown_text:
                return WindowDetokenizer(decode)
    return found
