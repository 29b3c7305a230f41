"""Greedy answers from an exported OpenVINO IR folder; needs no PyTorch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino_genai

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

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of one continuation, its end of turn included."""
        handle = self._pipeline.add_request(0, prompt, self._config)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        [output] = handle.read_all()
        return list(output.generated_ids)
