"""OpenVINO GenAI's ContinuousBatchingPipeline behind the loop's protocol."""

import json
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import openvino as ov

import openvino_genai as genai
from backends.llm_serving.errors import SettingsError
from backends.llm_serving.sampling import ALL_TOKENS, SamplingParams
from backends.openvino_genai.grammar import grammar_for
from backends.openvino_genai.pipeline import Counts, Grown, Status
from backends.openvino_genai.settings import Settings
from openvino_genai.py_openvino_genai import GenerationHandle

BATCHED_PROMPT_CHARS = 8192
_REASONS = {
    genai.GenerationFinishReason.STOP: "stop",
    genai.GenerationFinishReason.LENGTH: "length",
    genai.GenerationFinishReason.NONE: None,
}
_STATUSES = {
    genai.GenerationStatus.RUNNING: Status.RUNNING,
    genai.GenerationStatus.FINISHED: Status.FINISHED,
    genai.GenerationStatus.IGNORED: Status.OUT_OF_CACHE,
}


class GenAiGeneration:
    def __init__(self, handle: GenerationHandle) -> None:
        self._handle = handle

    def status(self) -> Status:
        return _STATUSES.get(self._handle.get_status(), Status.RUNNING)

    def read(self) -> Grown:
        ids: list[int] = []
        logprobs: list[float] = []
        reason = None
        while self._handle.can_read():
            for output in self._handle.read().values():
                ids += output.generated_ids
                logprobs += output.generated_log_probs
                reason = _REASONS.get(output.finish_reason)
        return Grown(ids, logprobs, reason)

    def read_finished(self) -> list[Grown]:
        return [
            Grown(
                output.generated_ids,
                output.generated_log_probs,
                _REASONS.get(output.finish_reason),
            )
            for output in self._handle.read_all()
        ]

    def cancel(self) -> None:
        self._handle.cancel()


class GenAiPipeline:
    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(folder), _scheduler(settings), settings.device, dict(settings.properties)
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        defaults = self._pipeline.get_config()
        eos = {*defaults.stop_token_ids, defaults.eos_token_id, self._tokenizer.get_eos_token_id()}
        self.eos_ids = frozenset(one for one in eos if one >= 0)
        self.context_tokens = _context_tokens(settings, folder)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """One run of the tokenizer's model for all short prompts costs little more than for one."""
        short = [i for i, prompt in enumerate(prompts) if len(prompt) <= BATCHED_PROMPT_CHARS]
        ids: list[list[int]] = [[] for _ in prompts]
        for i, found in zip(short, self._encode([prompts[i] for i in short]), strict=True):
            ids[i] = found
        for i in set(range(len(prompts))).difference(short):
            ids[i] = self._encode([prompts[i]])[0]
        return ids

    def decode(self, ids: Sequence[Sequence[int]], skip_special: bool) -> list[str]:
        texts = self._tokenizer.decode([list(one) for one in ids], skip_special_tokens=skip_special)
        return list(texts)

    def vocabulary(self) -> Mapping[bytes, int]:
        return dict(self._tokenizer.get_vocab())

    def add(
        self, request_id: int, ids: list[int], params: SamplingParams, max_new: int, *, scored: bool
    ) -> GenAiGeneration:
        seed = params.seed
        if seed is None:
            seed = 0 if params.greedy else secrets.randbits(32)
        config = self._config(params, max_new, seed, scored)
        tensor = ov.Tensor(np.array([ids], dtype=np.int64))
        return GenAiGeneration(self._pipeline.add_request(request_id, tensor, config))

    def step(self) -> None:
        self._pipeline.step()

    def busy(self) -> bool:
        return bool(self._pipeline.has_non_finished_requests())

    def counts(self) -> Counts:
        metrics = self._pipeline.get_metrics()
        return Counts(metrics.scheduled_requests, metrics.cache_usage / 100)

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        if not prompts:
            return []
        inputs = self._tokenizer.encode(
            list(prompts), add_special_tokens=self._settings.add_special_tokens
        )
        kept = np.asarray(inputs.attention_mask.data).astype(bool)
        ids = np.asarray(inputs.input_ids.data)
        return [row[mask].tolist() for row, mask in zip(ids, kept, strict=True)]

    @lru_cache(maxsize=256)  # noqa: B019
    def _config(
        self,
        params: SamplingParams,
        max_new: int,
        seed: int,
        scored: bool,
    ) -> genai.GenerationConfig:
        return _generation_config(params, max_new, seed, self.eos_ids, scored=scored)


def _generation_config(
    params: SamplingParams, max_new: int, seed: int, eos_ids: frozenset[int], *, scored: bool
) -> genai.GenerationConfig:
    config = genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = max_new
    config.min_new_tokens = min(params.min_tokens, max_new)
    config.do_sample = not params.greedy
    config.rng_seed = seed
    config.num_return_sequences = params.n
    if config.do_sample:
        config.temperature = params.temperature
        config.top_p = params.top_p
        config.min_p = params.min_p
        if params.top_k != ALL_TOKENS:
            config.top_k = params.top_k
    config.presence_penalty = params.presence_penalty
    config.frequency_penalty = params.frequency_penalty
    config.repetition_penalty = params.repetition_penalty
    config.logprobs = 1 if scored or params.logprobs is not None else 0
    stops = set(params.stop_token_ids)
    # GenAI's ignore_eos ignores every stop token, vLLM's only the end of text.
    config.ignore_eos = params.ignore_eos and not stops
    if not params.ignore_eos:
        stops |= eos_ids
    if stops:
        config.stop_token_ids = stops
        config.set_eos_token_id(min(stops))
    if params.structured is not None:
        config.structured_output_config = genai.StructuredOutputConfig(
            grammar=grammar_for(params.structured)
        )
    return config


def _scheduler(settings: Settings) -> genai.SchedulerConfig:
    config = genai.SchedulerConfig()
    for name in settings.scheduler.__dataclass_fields__:
        setattr(config, name, getattr(settings.scheduler, name))
    return config


def _context_tokens(settings: Settings, folder: Path) -> int:
    path = folder / "config.json"
    trained = None
    if path.is_file():
        trained = json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")
    if settings.max_model_len is None and not isinstance(trained, int):
        raise SettingsError(
            f"{path} does not say max_position_embeddings; give 'max_model_len' in model.json"
        )
    if settings.max_model_len is None:
        return int(trained or 0)
    if isinstance(trained, int) and settings.max_model_len > trained:
        raise SettingsError(
            f"'max_model_len' is {settings.max_model_len}, but the model was made for {trained}"
        )
    return settings.max_model_len
