"""Streams from a language model: time to first token, time per output token, tokens a second."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.perf.binary import PerfAnalyzer
from scripts.perf.load import LoadFailedError, run_load, write_input_data

# Every answer has as many tokens, so that tokens can be told from the messages they came in.
TOKENS = 64
SAMPLING = {"max_tokens": TOKENS, "min_tokens": TOKENS, "ignore_eos": True, "temperature": 0}


@dataclass(frozen=True)
class StreamLoad:
    model: str
    concurrency: int
    requests_per_s: float
    tokens_per_s: float
    messages_per_request: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    end_to_end_p50_ms: float
    end_to_end_p99_ms: float


def stream_prompts(folder: Path, questions: Sequence[str]) -> Path:
    rows = [
        {
            "text_input": f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
            "stream": True,
            "sampling_parameters": json.dumps(SAMPLING),
            "exclude_input_in_output": True,
        }
        for question in questions
    ]
    return write_input_data(folder / "prompts.json", rows)


def run_stream_load(
    analyzer: PerfAnalyzer, url: str, model: str, concurrency: int, prompts: Path
) -> StreamLoad:
    """At least four answers per caller, in count windows: a slow model has few in a second."""
    profile = prompts.with_name(f"profile-{model}-{concurrency}.json")
    run_load(
        analyzer,
        url,
        model,
        concurrency,
        input_data=prompts,
        window_ms=60_000,
        extra=[
            *["--streaming", "--measurement-mode", "count_windows"],
            *["--measurement-request-count", str(max(8, 4 * concurrency))],
            *["--profile-export-file", str(profile)],
        ],
    )
    requests = [
        request
        for experiment in json.loads(profile.read_text())["experiments"]
        for request in experiment["requests"]
        if request["response_timestamps"]
    ]
    if not requests:
        raise LoadFailedError(f"{model} at {concurrency}: no request got a response")
    return summarise(model, concurrency, requests)


def summarise(model: str, concurrency: int, requests: Sequence[dict[str, Any]]) -> StreamLoad:
    """From perf_analyzer's profile export: a start and the arrivals of each request, in ns."""
    starts = np.array([request["timestamp"] for request in requests])
    firsts = np.array([request["response_timestamps"][0] for request in requests])
    lasts = np.array([request["response_timestamps"][-1] for request in requests])
    messages = np.array([len(request["response_timestamps"]) for request in requests])
    first_ms, whole_ms = (firsts - starts) / 1e6, (lasts - starts) / 1e6
    per_token_ms = (lasts - firsts) / 1e6 / (TOKENS - 1)
    seconds = (lasts.max() - starts.min()) / 1e9
    rate = len(requests) / seconds
    return StreamLoad(
        model=model,
        concurrency=concurrency,
        requests_per_s=rate,
        tokens_per_s=rate * TOKENS,
        messages_per_request=float(messages.mean()),
        ttft_p50_ms=float(np.percentile(first_ms, 50)),
        ttft_p99_ms=float(np.percentile(first_ms, 99)),
        tpot_p50_ms=float(np.percentile(per_token_ms, 50)),
        end_to_end_p50_ms=float(np.percentile(whole_ms, 50)),
        end_to_end_p99_ms=float(np.percentile(whole_ms, 99)),
    )
