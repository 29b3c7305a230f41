"""One call as the contract of NVIDIA's vLLM backend has it, away from tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.sampling import SamplingParams, parse_sampling


@dataclass(frozen=True, slots=True)
class Wanted:
    """The additional outputs of a call."""

    finish_reason: bool = False
    cumulative_logprob: bool = False
    logprobs: bool = False
    num_input_tokens: bool = False
    num_output_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    prompt: str
    params: SamplingParams
    stream: bool = False
    echo: bool = True
    """Whether the answer begins with the prompt."""
    wanted: Wanted = Wanted()
    name: str = ""
    """The request id that the caller chose, by which it may name the call; need not be unique."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_prompt_bytes: int = 1 << 20
    max_requests: int = 4096
    """Waiting and running together; one more is refused with UNAVAILABLE."""


HINT = "cancelled_request_id"
"""A request with this parameter asks for no answer."""

_NOTHING_WANTED = Wanted()
_WANTED_NAMES = tuple(f"return_{name}" for name in Wanted.__dataclass_fields__)


def parse_call(
    texts: Mapping[str, bytes],
    flags: Mapping[str, bool],
    parameters: str,
    limits: Limits,
    *,
    name: str = "",
) -> Call:
    """From string tensors and boolean tensors by name, and Triton's request parameters (JSON).

    `parameters` counts where the tensor `sampling_parameters` is absent.
    """
    prompt = _prompt(texts, limits)
    if texts.get("image"):
        raise InvalidRequest("image: this model takes text only")
    stream = flags.get("stream", False)
    exclude = flags.get("exclude_input_in_output")
    if stream and exclude is False:
        raise InvalidRequest("exclude_input_in_output: must be true or absent when stream is true")
    sampling = texts.get("sampling_parameters")
    return Call(
        prompt=prompt,
        params=parse_sampling(parameters if sampling is None else _utf8(sampling)),
        stream=stream,
        echo=not stream and not exclude,
        wanted=_wanted(flags),
        name=name,
    )


def parse_hint(parameters: str) -> str | None:
    """The name of the call that was cancelled, if Triton's request parameters give one."""
    if HINT not in parameters:
        return None
    try:
        name = json.loads(parameters).get(HINT)
    except ValueError:  # Triton writes a number that is not finite as nothing
        return None
    return name if isinstance(name, str) else None


def _wanted(flags: Mapping[str, bool]) -> Wanted:
    asked = [flags.get(name, False) for name in _WANTED_NAMES]
    return Wanted(*asked) if any(asked) else _NOTHING_WANTED


def _prompt(texts: Mapping[str, bytes], limits: Limits) -> str:
    raw = texts.get("text_input")
    if not raw:
        raise InvalidRequest("text_input: must not be empty")
    if len(raw) > limits.max_prompt_bytes:
        raise InvalidRequest(
            f"text_input: {len(raw)} bytes are more than the {limits.max_prompt_bytes} allowed"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"text_input: not valid UTF-8 at byte {error.start}") from None


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"sampling_parameters: not valid UTF-8 at byte {error.start}"
        ) from None
