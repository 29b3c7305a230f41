import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from tokenizers import Tokenizer

from .packing import LENGTH_STEP, ROW_TOKENS, PackedTexts, pack

Embeddings = npt.NDArray[np.float32]

DIMENSIONS = 384
# all-MiniLM-L6-v2 was trained on no more; sentence-transformers truncates here as well.
MAX_TOKENS = 256
# What is tokenised of a text at all: 256 tokens never need more, short of pages of blanks.
MAX_CHARACTERS = 32_768
# All cores on one batch. Not THROUGHPUT: compiled for several streams in f32, OpenVINO 2026.4 now
# and then (4 of 28 starts) has one stream that computes nonsense for as long as it lives.
HINT = "LATENCY"

# Handing short texts to a thread pool costs more than tokenising them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class TextEncoder:
    """all-MiniLM-L6-v2 in OpenVINO: texts → FP32[n, 384], mean-pooled and L2-normalised."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] = {}) -> None:
        for name in ("model.xml", "model.bin", "tokenizer.json"):
            if not (folder / name).exists():
                raise FileNotFoundError(f"{folder / name} is missing; run scripts/make_embedder")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        compiled = ov.compile_model(
            folder / "model.xml", "CPU", {"PERFORMANCE_HINT": HINT, **settings}
        )
        self._request = compiled.create_infer_request()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        if not texts:
            return np.empty((0, DIMENSIONS), np.float32)
        encodings = self._tokenizer.encode_batch_fast([text[:MAX_CHARACTERS] for text in texts])
        packed = pack([encoding.ids for encoding in encodings])
        return self._infer(packed)[packed.rows, packed.numbers]

    def _infer(self, packed: PackedTexts) -> Embeddings:
        """FP32[rows, most texts in a row, 384]; valid until the next call."""
        self._request.infer([packed.input_ids, packed.position_ids, packed.text_numbers])
        embeddings: Embeddings = self._request.get_output_tensor().data
        return embeddings

    def warm(self) -> None:
        """Prepare the kernels of the common shapes before the first request needs them."""
        for tokens in range(LENGTH_STEP, ROW_TOKENS + 1, LENGTH_STEP):
            self.encode([_words(tokens)])
        mixed = [_words(tokens) for tokens in (10, 14, 18, 22, 26, 34, 44, 52)] * 8
        for texts in range(8, len(mixed) + 1, 8):
            self.encode(mixed[:texts])


def _words(tokens: int) -> str:
    """A text of so many tokens, with the two that begin and end it."""
    return "a " * (tokens - 2)
