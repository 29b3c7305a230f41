"""Triton's side of the contract: tensors in, tensors out. Imported only inside Triton's stub."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from backends.llm_serving.engine import Piece
from backends.llm_serving.errors import InvalidRequest, LlmError, RequestCancelled
from backends.llm_serving.metrics import Kind, Registry, Series
from backends.llm_serving.requests import Call, Limits, Wanted, parse_call, parse_hint
from backends.llm_serving.responder import Reply, Responder

BOOLS = (
    "stream",
    "exclude_input_in_output",
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
)
OUTPUTS = (
    ("text_output", "TYPE_STRING", -1),
    ("finish_reason", "TYPE_STRING", -1),
    ("cumulative_logprob", "TYPE_FP32", -1),
    ("logprobs", "TYPE_STRING", -1),
    ("num_input_tokens", "TYPE_UINT32", 1),
    ("num_output_tokens", "TYPE_UINT32", -1),
)


def complete_config(config: "pb_utils.ModelConfig") -> "pb_utils.ModelConfig":
    """Adds what a short config.pbtxt leaves out; refuses what contradicts the contract."""
    config.set_model_transaction_policy({"decoupled": True})
    config.set_max_batch_size(0)
    config.add_input({"name": "text_input", "data_type": "TYPE_STRING", "dims": [1]})
    image = {"name": "image", "data_type": "TYPE_STRING", "dims": [-1], "optional": True}
    config.add_input(image)
    optional = [("sampling_parameters", "TYPE_STRING"), *((name, "TYPE_BOOL") for name in BOOLS)]
    for name, data_type in optional:
        config.add_input({"name": name, "data_type": data_type, "dims": [1], "optional": True})
    for name, data_type, length in OUTPUTS:
        config.add_output({"name": name, "data_type": data_type, "dims": [length]})
    return config


def read_call(request: "pb_utils.InferenceRequest", limits: Limits) -> Call:
    texts: dict[str, bytes] = {}
    flags: dict[str, bool] = {}
    for tensor in request.inputs():
        values = tensor.as_numpy().reshape(-1)
        if values.size == 0:
            continue
        if values.dtype == np.bool_:
            flags[tensor.name()] = bool(values[0])
        else:
            texts[tensor.name()] = values[0]
    parameters = "" if "sampling_parameters" in texts else request.parameters()
    return parse_call(texts, flags, parameters, limits, name=request.request_id())


def take_hint(request: "pb_utils.InferenceRequest") -> str | None:
    """The name of a cancelled call, of a request that says nothing else; it is ended here."""
    name = parse_hint(request.parameters())
    if name is not None:
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        request.get_response_sender().send(flags=final)
    return name


class TritonResponder(Responder):
    """Asking whether a call is cancelled once its final response is sent crashes the server

    (2.51: the response factory that is asked is gone by then), so the two exclude each other.
    """

    def __init__(self, sender: "pb_utils.ResponseSender") -> None:
        self._sender = sender
        self._open = threading.Lock()
        self._ended = False
        self._echo = ""
        self._wanted = Wanted()

    def expect(self, call: Call) -> None:
        self._echo = call.prompt if call.echo else ""
        self._wanted = call.wanted

    def reply(self, reply: Reply) -> None:
        response = pb_utils.InferenceResponse(self._tensors(reply))
        if reply.final:
            self._end(response)
        else:
            self._sender.send(response)

    def fail(self, error: LlmError) -> None:
        if isinstance(error, InvalidRequest):
            code = pb_utils.TritonError.INVALID_ARG
        elif isinstance(error, RequestCancelled):
            code = pb_utils.TritonError.CANCELLED
        else:
            code = pb_utils.TritonError.UNAVAILABLE
        self._end(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code)))

    def is_cancelled(self) -> bool:
        with self._open:
            return not self._ended and self._sender.is_cancelled()

    def _end(self, response: "pb_utils.InferenceResponse") -> None:
        with self._open:
            self._ended = True
        self._sender.send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _tensors(self, reply: Reply) -> "list[pb_utils.Tensor]":
        pieces, wanted = reply.pieces, self._wanted
        tensors = [_strings("text_output", [self._echo + piece.text for piece in pieces])]
        if wanted.finish_reason:
            reasons = [str(piece.finish_reason) for piece in pieces]
            tensors.append(_strings("finish_reason", reasons))
        if wanted.cumulative_logprob:
            sums = np.array([piece.cumulative_logprob for piece in pieces], dtype=np.float32)
            tensors.append(pb_utils.Tensor("cumulative_logprob", sums))
        if wanted.logprobs:
            tensors.append(_strings("logprobs", [_logprobs_json(piece) for piece in pieces]))
        if wanted.num_input_tokens:
            count = np.array([reply.prompt_tokens], dtype=np.uint32)
            tensors.append(pb_utils.Tensor("num_input_tokens", count))
        if wanted.num_output_tokens:
            counts = np.array([piece.tokens for piece in pieces], dtype=np.uint32)
            tensors.append(pb_utils.Tensor("num_output_tokens", counts))
        return tensors


def _strings(name: str, values: Sequence[str]) -> "pb_utils.Tensor":
    return pb_utils.Tensor(name, np.array([v.encode() for v in values], dtype=np.object_))


def _logprobs_json(piece: Piece) -> str:
    """A list with one object per token: {token id: {logprob, rank, decoded_token}, …}."""
    if piece.logprobs is None:
        return "null"
    return json.dumps(
        [
            {
                one.token_id: {"logprob": one.logprob, "rank": one.rank, "decoded_token": one.text}
                for one in token
            }
            for token in piece.logprobs
        ]
    )


class TritonSeries(Series):
    def __init__(self, metric: "pb_utils.Metric") -> None:
        self._metric = metric

    def increment(self, by: float) -> None:
        self._metric.increment(by)

    def set(self, value: float) -> None:
        self._metric.set(value)

    def observe(self, value: float) -> None:
        self._metric.observe(value)


class TritonRegistry(Registry):
    """Keeps the families: a metric whose family was collected raises on its next update."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {}

    def series(
        self,
        kind: Kind,
        name: str,
        description: str,
        labels: Mapping[str, str],
        buckets: tuple[float, ...] = (),
    ) -> Series:
        family = self._families.get(name)
        if family is None:
            family = pb_utils.MetricFamily(
                name=name,
                description=description,
                kind=getattr(pb_utils.MetricFamily, kind.upper()),
            )
            self._families[name] = family
        if kind == "histogram":
            return TritonSeries(family.Metric(labels=dict(labels), buckets=list(buckets)))
        return TritonSeries(family.Metric(labels=dict(labels)))


class TritonLog:
    def __init__(self, model: str) -> None:
        self._model = model

    def info(self, message: str) -> None:
        pb_utils.Logger.log_info(f"{self._model}: {message}")

    def error(self, message: str) -> None:
        pb_utils.Logger.log_error(f"{self._model}: {message}")
