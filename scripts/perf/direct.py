"""OpenVINO called directly, the yardstick of the embedder behind Triton."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from tokenizers import Tokenizer

BATCH = 32
MAX_TOKENS = 256

Batch = list[npt.NDArray[np.int64]]
"""input_ids, position_ids and text_numbers of one text a row."""


@dataclass(frozen=True)
class DirectRates:
    """Texts per second of the embedder's graph in batches of 32, tokenised beforehand.

    `in_order`: 32 texts as they come, padded to the longest, as a caller of OpenVINO does it.
    `by_length`: cut from all texts in order of length, so that hardly anything is padding: no
    server, which has to take what comes, can beat it by sorting.
    """

    in_order: float
    by_length: float


def direct_throughput(version_folder: Path, texts: Sequence[str], seconds: float) -> DirectRates:
    """Measures each for half of the seconds."""
    tokenizer = Tokenizer.from_file(str(version_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    compiled: Any = ov.Core().compile_model(version_folder / "model.xml", "CPU", settings)
    request = compiled.create_infer_request()
    return DirectRates(
        in_order=_rate(request, tokens, seconds / 2),
        by_length=_rate(request, sorted(tokens, key=len), seconds / 2),
    )


def _rate(request: Any, tokens: Sequence[Sequence[int]], seconds: float) -> float:
    batches = [_batch(tokens[start : start + BATCH]) for start in range(0, len(tokens), BATCH)]
    for batch in batches:
        request.infer(batch)
    done, start = 0, time.perf_counter()
    # Spread over all lengths from the first moment on, however few batches fit into the time.
    order = np.random.default_rng(0).permutation(len(batches))
    while time.perf_counter() - start < seconds:
        for place in order:
            request.infer(batches[place])
            done += len(batches[place][0])
            if time.perf_counter() - start >= seconds:
                break
    return done / (time.perf_counter() - start)


def _batch(rows: Sequence[Sequence[int]]) -> Batch:
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return [ids, np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy(), mask]
