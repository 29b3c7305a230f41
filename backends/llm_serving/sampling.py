"""vLLM's `SamplingParams` as JSON: one typed value, or a sentence that says what is wrong.

Names, defaults and meanings are vLLM's (docs.vllm.ai, class SamplingParams). Numbers and booleans
may also come as strings, as NVIDIA's vLLM backend has always taken them.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.structured import StructuredOutput, parse_structured

ALL_TOKENS = 0
MOST_STOPS = 16
"""An engine that looks for them itself takes so many, and `MOST_SEQUENCES` of one prompt."""
MOST_SEQUENCES = 16


@dataclass(frozen=True, slots=True)
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = ALL_TOKENS
    min_p: float = 0.0
    max_tokens: int | None = 16
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    logprobs: int | None = None
    structured: StructuredOutput | None = None
    extras: tuple[tuple[str, str], ...] = field(default=())
    """Other names, as JSON, unless the value is vLLM's default: not every engine honours them."""

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0


def _wrong(name: str, value: object, right: str) -> InvalidRequest:
    shown = json.dumps(value, default=str)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return InvalidRequest(f"sampling_parameters: '{name}' must be {right}, not {shown}")


def _number(name: str, value: object, right: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(name, value, right)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _wrong(name, value, right) from None
    if not math.isfinite(number):
        raise _wrong(name, value, right)
    return number


def _real(allowed: Callable[[float], bool], right: str) -> Callable[[str, object], float]:
    def read(name: str, value: object) -> float:
        number = _number(name, value, right)
        if not allowed(number):
            raise _wrong(name, value, right)
        return number

    return read


def _integer(least: int, most: int, right: str) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        number = _number(name, value, right)
        if number != int(number) or not least <= number <= most:
            raise _wrong(name, value, right)
        return int(number)

    return read


def _optional(read: Callable[[str, object], int]) -> Callable[[str, object], int | None]:
    def maybe(name: str, value: object) -> int | None:
        return None if value is None else read(name, value)

    return maybe


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise _wrong(name, value, "true or false")


def _stops(name: str, value: object) -> tuple[str, ...]:
    right = "a string or a list of non-empty strings"
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise _wrong(name, value, right)
    return tuple(stops)


def _token_ids(name: str, value: object) -> tuple[int, ...]:
    right = "a list of token ids (integers of at least 0)"
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(name, value, right)
    for token in value:
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise _wrong(name, value, right)
    return tuple(value)


def _top_k(name: str, value: object) -> int:
    return max(
        ALL_TOKENS,
        _integer(-1, 2**31 - 1, "an integer of at least 1, or 0 or -1 for all")(name, value),
    )


_COUNT = 2**31 - 1
_PENALTY = _real(lambda x: -2 <= x <= 2, "a number from -2 to 2")
_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "n": _integer(1, _COUNT, "an integer of at least 1"),
    "temperature": _real(lambda x: x >= 0, "a number of at least 0"),
    "top_p": _real(lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "top_k": _top_k,
    "min_p": _real(lambda x: 0 <= x < 1, "a number of at least 0 and below 1"),
    "max_tokens": _optional(_integer(1, _COUNT, "an integer of at least 1, or null")),
    "min_tokens": _integer(0, _COUNT, "an integer of at least 0"),
    "stop": _stops,
    "stop_token_ids": _token_ids,
    "include_stop_str_in_output": _boolean,
    "ignore_eos": _boolean,
    "skip_special_tokens": _boolean,
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "repetition_penalty": _real(lambda x: x > 0, "a number above 0"),
    "seed": _optional(_integer(0, 2**63 - 1, "an integer of at least 0, or null")),
    "logprobs": _optional(_integer(-1, _COUNT, "an integer of at least -1, or null")),
}
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "allowed_token_ids": (None,),
    "bad_words": (None, []),
    "best_of": (None, 1),
    "detokenize": (True,),
    "early_stopping": (False,),
    "length_penalty": (1, 1.0),
    "logit_bias": (None, {}),
    "lora_name": (None,),
    "prompt_logprobs": (None,),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (False,),
}
_STRUCTURED = frozenset(
    {
        "structured_outputs",
        "guided_decoding",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
    }
)


@lru_cache(maxsize=1024)
def parse_sampling(text: str) -> SamplingParams:
    """Agents send the same few texts over and over, so the answer is kept."""
    try:
        given = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise InvalidRequest(f"sampling_parameters is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InvalidRequest("sampling_parameters must be a JSON object")
    values = {name: read(name, given[name]) for name, read in _READERS.items() if name in given}
    others = sorted(given.keys() - _READERS.keys() - _STRUCTURED)
    extras = tuple(
        (name, json.dumps(given[name]))
        for name in others
        if given[name] not in _NEUTRAL.get(name, ())
    )
    structured = parse_structured({name: given[name] for name in _STRUCTURED if name in given})
    params = SamplingParams(**values, structured=structured, extras=extras)
    _check_together(params)
    return params


def refuse_extras(params: SamplingParams, known: Collection[str] = ()) -> None:
    """Raises InvalidRequest, naming the first that is not `known` to the engine."""
    for name, value in params.extras:
        if name in known:
            continue
        if name in _NEUTRAL:
            raise InvalidRequest(
                f"sampling_parameters: this engine does not honour '{name}' (given {value}); "
                "leave it out"
            )
        names = ", ".join(sorted({*_READERS, *known, "structured_outputs"}))
        raise InvalidRequest(f"sampling_parameters: unknown name '{name}'; known are {names}")


def _check_together(params: SamplingParams) -> None:
    if params.max_tokens is not None and params.min_tokens > params.max_tokens:
        raise _wrong("min_tokens", params.min_tokens, f"at most max_tokens ({params.max_tokens})")
    if params.n > 1 and params.greedy:
        raise _wrong("n", params.n, "1 when temperature is 0")
