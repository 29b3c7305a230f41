from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from tokenizers import Encoding, Tokenizer

Embeddings = npt.NDArray[np.float32]

DIMENSIONS = 384
# all-MiniLM-L6-v2 was trained on no more; sentence-transformers truncates here as well.
MAX_TOKENS = 256
# What is tokenised of a text at all: 256 tokens never need more, short of pages of blanks.
MAX_CHARACTERS = 32_768
# Rows are sorted by length and run in slices, so that a long text pads few others.
SLICE_ROWS = 16
# Lengths are rounded up: OpenVINO compiles its kernels once for each new shape.
LENGTH_STEP = 8
DEFAULT_SETTINGS = {"PERFORMANCE_HINT": "LATENCY"}


class TextEncoder:
    """all-MiniLM-L6-v2 in OpenVINO: texts → FP32[n, 384], mean-pooled and L2-normalised."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] = DEFAULT_SETTINGS) -> None:
        for name in ("model.xml", "model.bin", "tokenizer.json"):
            if not (folder / name).exists():
                raise FileNotFoundError(f"{folder / name} is missing; run scripts/make_embedder")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        compiled = ov.Core().compile_model(folder / "model.xml", "CPU", dict(settings))
        self._request = compiled.create_infer_request()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        encodings = self._tokenizer.encode_batch_fast([text[:MAX_CHARACTERS] for text in texts])
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row]))
        embeddings = np.empty((len(texts), DIMENSIONS), np.float32)
        for start in range(0, len(order), SLICE_ROWS):
            rows = order[start : start + SLICE_ROWS]
            embeddings[rows] = self._infer([encodings[row] for row in rows])
        return embeddings

    def warm(self) -> None:
        """Compile the kernels of the common shapes before the first request needs them."""
        for tokens in range(LENGTH_STEP, 8 * LENGTH_STEP + 1, LENGTH_STEP):
            for rows in (1, SLICE_ROWS):
                self.encode(["a " * (tokens - 2)] * rows)

    def _infer(self, encodings: Sequence[Encoding]) -> Embeddings:
        longest = max(len(encoding) for encoding in encodings)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        ids = np.zeros((len(encodings), length), np.int64)
        mask = np.zeros((len(encodings), length), np.int64)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        result: Embeddings = self._request.infer([ids, mask])[0]
        return result
