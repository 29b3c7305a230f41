"""Greedy answers from an exported OpenVINO IR folder; needs no PyTorch."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino_genai
from openvino_genai.py_openvino_genai import GenerationHandle

_CACHE_GIB = 1
LONGEST_ANSWER_TOKENS = 160


def _served_properties(folder: Path) -> dict[str, Any]:
    """What the model's `model.json`, beside the folder, hands to the plug-in."""
    settings = folder.parent / "model.json"
    if not settings.exists():
        return {}
    properties: dict[str, Any] = json.loads(settings.read_text(encoding="utf-8")).get(
        "properties", {}
    )
    return properties


@dataclass(frozen=True)
class Written:
    """`confidence` is the geometric mean probability of the answer's tokens."""

    text: str
    confidence: float
    prompt_tokens: int
    new_tokens: int


class Engine:
    def __init__(self, folder: Path) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = _CACHE_GIB
        scheduler.enable_prefix_caching = True
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(folder), scheduler, "CPU", _served_properties(folder)
        )
        self._config = openvino_genai.GenerationConfig()
        self._config.max_new_tokens = LONGEST_ANSWER_TOKENS
        self._config.do_sample = False
        self._config.apply_chat_template = False

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """One continuation per rendered prompt, without its end of turn."""
        if not prompts:
            return []
        results = self._pipeline.generate(list(prompts), [self._config] * len(prompts))
        return [str(result.m_generation_ids[0]) for result in results]

    def write(self, prompts: Sequence[str]) -> list[Written]:
        """As `answer`, with how sure the model was and what it took."""
        self._config.logprobs = 1
        handles = [
            self._pipeline.add_request(number, prompt, self._config)
            for number, prompt in enumerate(prompts)
        ]
        self._config.logprobs = 0
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return [
            self._written(prompt, handle) for prompt, handle in zip(prompts, handles, strict=True)
        ]

    def _written(self, prompt: str, handle: GenerationHandle) -> Written:
        [output] = handle.read_all()
        tokenizer = self._pipeline.get_tokenizer()
        ids = list(output.generated_ids)
        return Written(
            text=str(tokenizer.decode(ids)),
            confidence=math.exp(sum(output.generated_log_probs) / max(1, len(ids))),
            prompt_tokens=int(tokenizer.encode(prompt).input_ids.shape[1]),
            new_tokens=len(ids),
        )

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of one continuation, its end of turn included."""
        handle = self._pipeline.add_request(0, prompt, self._config)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        [output] = handle.read_all()
        return list(output.generated_ids)
