import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from tokenizers import Tokenizer

from .packing import LENGTH_STEP, ROW_TOKENS, pack

Embeddings = npt.NDArray[np.float32]

DIMENSIONS = 384
# all-MiniLM-L6-v2 was trained on no more; sentence-transformers truncates here as well.
MAX_TOKENS = 256
# What is tokenised of a text at all: 256 tokens never need more, short of pages of blanks.
MAX_CHARACTERS = 32_768
WARM_ROWS = 16
DEFAULT_SETTINGS = {"PERFORMANCE_HINT": "LATENCY"}

# Handing short texts to a thread pool costs more than tokenising them.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
        if not texts:
            return np.empty((0, DIMENSIONS), np.float32)
        encodings = self._tokenizer.encode_batch_fast([text[:MAX_CHARACTERS] for text in texts])
        packed = pack([encoding.ids for encoding in encodings])
        inputs = [packed.input_ids, packed.position_ids, packed.text_numbers]
        # A view of the request's memory would change with the next batch: indexing copies.
        embeddings: Embeddings = self._request.infer(inputs)[0][packed.rows, packed.numbers]
        return embeddings

    def warm(self) -> None:
        """Prepare the kernels of the common shapes before the first request needs them."""
        for tokens in range(LENGTH_STEP, ROW_TOKENS + 1, LENGTH_STEP):
            self.encode(["a " * (tokens - 2)])
        for rows in range(2, WARM_ROWS + 1):
            self.encode(["a " * (ROW_TOKENS - 2)] * rows)
