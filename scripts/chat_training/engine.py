"""Greedy answers from an exported OpenVINO IR folder; needs no PyTorch."""

from collections.abc import Sequence
from pathlib import Path

import openvino_genai

_CACHE_GIB = 1
LONGEST_ANSWER_TOKENS = 160


class Engine:
    def __init__(self, folder: Path) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = _CACHE_GIB
        scheduler.enable_prefix_caching = True
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU")
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
