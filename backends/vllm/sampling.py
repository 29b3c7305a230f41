"""A request's sampling parameters as vLLM's own. Imported only in the engine's process."""

import json
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from vllm.lora.request import LoRARequest
from vllm.sampling_params import (
    RequestOutputKind,
    SamplingParams,
    StructuredOutputsParams,
)

from backends.llm_serving.engine import EngineRequest
from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.sampling import SamplingParams as Asked
from backends.llm_serving.sampling import refuse_extras
from backends.llm_serving.structured import StructuredOutput

LORA = "lora_name"
NOT_FOR_CALLERS = frozenset(
    {
        "flat_logprobs",
        "output_kind",
        "output_text_buffer_length",
        "skip_clone",
        "stream_interval",
        "structured_outputs",
    }
)
_TYPED = {
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "min_tokens",
    "include_stop_str_in_output",
    "ignore_eos",
    "skip_special_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "logprobs",
}
_HINTS = typing.get_type_hints(SamplingParams, include_extras=True)
KNOWN = {name for name in _HINTS if not name.startswith("_")} - NOT_FOR_CALLERS | {LORA}


def vllm_params(request: EngineRequest) -> SamplingParams:
    """Raises InvalidRequest, and what vLLM raises about values that it does not take."""
    asked = request.params
    refuse_extras(asked, KNOWN)
    values: dict[str, Any] = {name: getattr(asked, name) for name in _TYPED}
    values |= {name: _typed(name, text) for name, text in asked.extras if name != LORA}
    if request.scored and asked.logprobs is None:
        values["logprobs"] = 0
    if asked.structured is not None:
        values["structured_outputs"] = _structured(asked.structured)
    return SamplingParams(
        **values,
        stop=list(asked.stop),
        stop_token_ids=list(asked.stop_token_ids),
        output_kind=RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )


def vllm_lora(asked: Asked, loras: Mapping[str, str]) -> LoRARequest | None:
    """`loras`: path by name, always in the same order."""
    name = next((json.loads(text) for key, text in asked.extras if key == LORA), None)
    if name is None:
        return None
    if name not in loras:
        known = f"known are {', '.join(loras)}" if loras else "this model has no LoRA adapters"
        raise InvalidRequest(f"sampling_parameters: no '{LORA}' {json.dumps(name)}; {known}")
    return LoRARequest(name, list(loras).index(name) + 1, loras[name])


@lru_cache
def _reader(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_HINTS[name])


def _typed(name: str, text: str) -> Any:
    """vLLM checks few types itself, and a wrong one would reach the engine's core."""
    try:
        return _reader(name).validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidRequest(f"sampling_parameters: '{name}': {reason}") from None


def _structured(asked: StructuredOutput) -> StructuredOutputsParams:
    value: Any = asked.text
    if asked.kind == "json_object":
        value = True
    elif asked.kind == "choice":
        value = json.loads(asked.text)
    return StructuredOutputsParams(**{asked.kind: value}, disable_any_whitespace=asked.fixed_space)
