"""Triton's failures as the service's errors."""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

MAX_DETAIL_CHARS = 300
QUOTE_CHARS = 16
"""A detail that shares this many characters with what was sent may quote a prompt."""

_INVALID = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
_UNREACHABLE = "Triton can't be reached"
_GONE = {
    grpc.StatusCode.UNAVAILABLE: _UNREACHABLE,
    grpc.StatusCode.NOT_FOUND: "Triton does not serve it",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Triton has no room for more requests",
    # By the server: our own cancels raise CancelledError.
    grpc.StatusCode.CANCELLED: "Triton broke off the call",
    grpc.StatusCode.ABORTED: "Triton broke off the call",
}
# What Triton says of a model or process that is gone, then what our LLM backends say.
_GONE_TEXTS = {
    "is not healthy": "its process died",
    "unknown model": "Triton does not serve it",
    "not at ready state": "it is not loaded",
    "maximum queue size": "its queue is full",
    "the engine is down": "its engine is down",
    "the engine died": "its engine died",
    "cannot take this request": "its engine is full",
    "the model was unloaded": "it was unloaded",
}
_BLAMES_INPUT = re.compile(
    r"(text_input|sampling_parameters|stream|exclude_input_in_output|return_\w+)\b"
    r"|the engine refuses this request"
)


class Unreachable(Unavailable):
    """Of the server as a whole, not of one of its models."""

    default_reason = "MODEL_UNAVAILABLE"


def translated(error: grpc.aio.AioRpcError, model: str, sent: Sequence[str]) -> FleetError:
    """Returns the error for a failed call that sent these texts. None of them is in it.

    Addresses, paths and traces that the server names stay in our log.
    """
    code, detail = error.code(), _safe(error.details() or "", sent)
    gone = _gone(detail) or _GONE.get(code)
    if gone:
        log.debug("model %s: %s: %s", model, code.name, detail)
        return unreachable(model) if gone == _UNREACHABLE else unavailable(model, gone)
    if code in _INVALID:
        return InvalidInput(f"model {model} refuses the request: {detail}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"model {model} did not answer in time")
    log.error("model %s failed with %s: %s", model, code.name, detail)
    return Internal(f"model {model} failed with {code.name}")


def failed(model: str, detail: str, sent: Sequence[str]) -> FleetError:
    """Returns the error for a failure inside a stream, where Triton drops the status code.

    A text that begins with the name of an input, as our LLM backends write it, blames the input.
    """
    blames_input = _BLAMES_INPUT.match(detail)
    detail = _safe(detail, sent)
    if blames_input:
        return InvalidInput(f"model {model} refuses the request: {detail}")
    gone = _gone(detail)
    if gone:
        log.debug("model %s: %s", model, detail)
        return unavailable(model, gone)
    log.error("model %s failed: %s", model, detail)
    return Internal(f"model {model} failed in the middle of its answer")


def unavailable(model: str, what: str) -> Unavailable:
    return Unavailable(f"model {model} is not available: {what}", reason="MODEL_UNAVAILABLE")


def unreachable(model: str) -> Unreachable:
    return Unreachable(f"model {model} is not available: {_UNREACHABLE}")


def _gone(detail: str) -> str | None:
    return next((what for text, what in _GONE_TEXTS.items() if text in detail), None)


def _safe(detail: str, sent: Sequence[str]) -> str:
    detail = " ".join(detail[:MAX_DETAIL_CHARS].split())
    ends = range(max(1, len(detail) - QUOTE_CHARS + 1))
    quotes = (detail[at : at + QUOTE_CHARS] for at in ends) if detail else ()
    if any(quote in text for quote in quotes for text in sent):
        return "(the reason is withheld: it quotes the request)"
    return detail or "no reason was given"
