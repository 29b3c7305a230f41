"""Triton's failures as the service's errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import grpc

from orchestrator.domain.errors import (
    DeadlineExceeded,
    FleetError,
    Internal,
    InvalidInput,
    Unavailable,
)

MAX_DETAIL_CHARS = 300
QUOTE_CHARS = 16
"""A detail that shares this many characters with what was sent may quote a prompt."""

_INVALID = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
_GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,  # by the server: our own cancels raise CancelledError
    grpc.StatusCode.ABORTED,
}
# What Triton says of a model or process that is gone, then what our LLM backends say.
_GONE_TEXTS = (
    "is not healthy",
    "unknown model",
    "not at ready state",
    "maximum queue size",
    "the engine is down",
    "the engine died",
    "cannot take this request",
    "the model was unloaded",
)
_BLAMES_INPUT = re.compile(
    r"(text_input|sampling_parameters|stream|exclude_input_in_output|return_\w+)\b"
    r"|the engine refuses this request"
)


def translated(error: grpc.aio.AioRpcError, model: str, sent: Sequence[str]) -> FleetError:
    """Returns the error for a failed call that sent these texts. None of them is in it."""
    code, detail = error.code(), _safe(error.details() or "", sent)
    if code in _GONE or _says_gone(detail):
        return unavailable(model, detail)
    if code in _INVALID:
        return InvalidInput(f"model {model} refuses the request: {detail}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"model {model} did not answer in time")
    return Internal(f"model {model} failed with {code.name}: {detail}")


def failed(model: str, detail: str, sent: Sequence[str]) -> FleetError:
    """Returns the error for a failure inside a stream, where Triton drops the status code.

    A text that begins with the name of an input, as our LLM backends write it, blames the input.
    """
    blames_input = _BLAMES_INPUT.match(detail)
    detail = _safe(detail, sent)
    if blames_input:
        return InvalidInput(f"model {model} refuses the request: {detail}")
    if _says_gone(detail):
        return unavailable(model, detail)
    return Internal(f"model {model} failed: {detail}")


def unavailable(model: str, detail: str) -> Unavailable:
    return Unavailable(f"model {model} is not available: {detail}", reason="MODEL_UNAVAILABLE")


def _says_gone(detail: str) -> bool:
    return any(text in detail for text in _GONE_TEXTS)


def _safe(detail: str, sent: Sequence[str]) -> str:
    detail = " ".join(detail[:MAX_DETAIL_CHARS].split())
    ends = range(max(1, len(detail) - QUOTE_CHARS + 1))
    quotes = (detail[at : at + QUOTE_CHARS] for at in ends) if detail else ()
    if any(quote in text for quote in quotes for text in sent):
        return "(the reason is withheld: it quotes the request)"
    return detail or "no reason was given"
