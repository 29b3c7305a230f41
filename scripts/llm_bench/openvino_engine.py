"""OpenVINO GenAI without Triton."""

from pathlib import Path
from time import perf_counter

import openvino_genai as genai

from backends.openvino_genai.genai_pipeline import GenAiPipeline
from backends.openvino_genai.settings import Settings
from scripts.llm_bench.direct import NEW_TOKENS


class OpenVinoDirect:
    """`ContinuousBatchingPipeline.generate` on the settings the model is served with."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        pipeline = GenAiPipeline(settings, folder)
        self._pipeline: genai.ContinuousBatchingPipeline = pipeline._pipeline
        self._config = genai.GenerationConfig(
            max_new_tokens=NEW_TOKENS, ignore_eos=True, do_sample=False, apply_chat_template=False
        )

        tokens = [[token] for token in sorted(pipeline.vocabulary().values())]
        shown = zip(pipeline.decode(tokens, True), pipeline.decode(tokens, False), strict=True)
        self.special = [spelled for plain, spelled in shown if plain != spelled]

    def plain(self, text: str) -> str:
        """As `generate` returns it: without special tokens."""
        for spelled in self.special:
            text = text.replace(spelled, "")
        return text

    def run(self, texts: list[str]) -> tuple[float, list[str]]:
        began = perf_counter()
        results = self._pipeline.generate(texts, [self._config] * len(texts))
        seconds = perf_counter() - began
        return seconds, [result.m_generation_ids[0] for result in results]
