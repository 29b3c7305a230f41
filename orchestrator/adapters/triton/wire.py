"""Triton's gRPC messages as plain values: the only file that sees tritonclient, which has no types.

Its stubs are used directly: its client makes a numpy array and several objects of each tensor.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc


class InferRequest(Protocol):
    """A request message that was made here."""

    @property
    def model_name(self) -> str: ...

    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the repository index says of a version of a model."""

    model: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input: `data` is Triton's raw form, row by row."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


def texts(name: str, values: Iterable[str], *shape: int) -> Tensor:
    """A lone surrogate, which UTF-8 can't say, becomes `?`."""
    encoded = (value.encode("utf-8", "replace") for value in values)
    return Tensor(name, "BYTES", shape, b"".join(struct.pack("<I", len(v)) + v for v in encoded))


def flag(name: str, *, value: bool) -> Tensor:
    return Tensor(name, "BOOL", (1,), bytes([value]))


def infer_request(
    model: str,
    inputs: Iterable[Tensor],
    outputs: Mapping[str, int] | None = None,
    *,
    request_id: str = "",
) -> InferRequest:
    """`outputs` maps each wanted one to a number of classes: 0 asks for the tensor itself,
    more for that many of its highest values as `value:index:label`. None asks for all.
    """
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    for tensor in inputs:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        request.raw_input_contents.append(tensor.data)
    for name, classes in (outputs or {}).items():
        asked = request.outputs.add(name=name)
        if classes:
            asked.parameters["classification"].int64_param = classes
    return cast(InferRequest, request)


def cancel_hint(cancelled: InferRequest) -> InferRequest:
    """Any other backend of the contract refuses it, for its prompt is empty."""
    request = service_pb2.ModelInferRequest(model_name=cancelled.model_name)
    request.parameters["cancelled_request_id"].string_param = cancelled.id
    text = texts("text_input", [""], 1)
    request.inputs.add(name=text.name, datatype=text.datatype, shape=text.shape)
    request.raw_input_contents.append(text.data)
    return cast(InferRequest, request)


def takes_cancel_hints(config: Any) -> bool:
    """Says whether the parameter names the model's own backend.

    The same config.pbtxt may be served by another one, for which a hint is a bad request.
    """
    parameters = config.parameters
    wanted = parameters["cancel_hints"].string_value if "cancel_hints" in parameters else ""
    return bool(wanted) and wanted == config.backend


class Outputs:
    """The tensors of one response, by name."""

    def __init__(self, response: Any) -> None:
        self._raw: Mapping[str, bytes] = {
            output.name: raw
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        self._rows = {output.name: int(output.shape[0]) for output in response.outputs}

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def strings(self, name: str) -> list[bytes]:
        """Raises KeyError: the response has no such output."""
        return list(_strings(self._raw[name]))

    def string_rows(self, name: str) -> list[list[bytes]]:
        strings = self.strings(name)
        width = max(1, len(strings) // self._rows[name])
        return [strings[at : at + width] for at in range(0, len(strings), width)]

    def float_rows(self, name: str) -> list[tuple[float, ...]]:
        raw = self._raw[name]
        width = len(raw) // 4 // self._rows[name]
        return list(struct.iter_unpack(f"<{width}f", raw))

    def counts(self, name: str) -> tuple[int, ...]:
        raw = self._raw[name]
        return struct.unpack(f"<{len(raw) // 4}I", raw)


class Stubs:
    """The calls that are used, with types."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    async def infer(self, request: InferRequest, *, timeout_s: float) -> Outputs:
        return Outputs(await self._stub.ModelInfer(request, timeout=timeout_s))

    async def stream(
        self, request: InferRequest, *, timeout_s: float
    ) -> AsyncGenerator[Outputs | str, None]:
        """Yields each response's tensors and at the end the error, if one came in their place.

        Closed early, it cancels. A failed call is read to its end first: cancelling one
        that is about to end can crash Triton 24.10.
        """
        call = self._stub.ModelStreamInfer((request,), timeout=timeout_s)
        error = ""
        try:
            async for response in call:
                error = error or response.error_message
                if not error:
                    yield Outputs(response.infer_response)
            if error:
                yield error
        finally:
            call.cancel()

    async def server_live(self, *, timeout_s: float) -> bool:
        request = service_pb2.ServerLiveRequest()
        answer = await cast(Awaitable[Any], self._stub.ServerLive(request, timeout=timeout_s))
        return bool(answer.live)

    async def model_ready(self, model: str, *, timeout_s: float) -> bool:
        request = service_pb2.ModelReadyRequest(name=model)
        answer = await cast(Awaitable[Any], self._stub.ModelReady(request, timeout=timeout_s))
        return bool(answer.ready)

    async def max_batch_size(self, model: str, *, timeout_s: float) -> int:
        return int((await self._config(model, timeout_s)).max_batch_size)

    async def takes_cancel_hints(self, model: str, *, timeout_s: float) -> bool:
        return takes_cancel_hints(await self._config(model, timeout_s))

    async def _config(self, model: str, timeout_s: float) -> Any:
        request = service_pb2.ModelConfigRequest(name=model)
        answer = await cast(Awaitable[Any], self._stub.ModelConfig(request, timeout=timeout_s))
        return answer.config

    async def repository_index(self, *, timeout_s: float) -> list[IndexRow]:
        request = service_pb2.RepositoryIndexRequest()
        answer = await cast(Awaitable[Any], self._stub.RepositoryIndex(request, timeout=timeout_s))
        return [IndexRow(row.name, row.version, row.state, row.reason) for row in answer.models]

    async def load(self, model: str, *, timeout_s: float) -> None:
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        await cast(Awaitable[Any], self._stub.RepositoryModelLoad(request, timeout=timeout_s))

    async def unload(self, model: str, *, timeout_s: float) -> None:
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await cast(Awaitable[Any], self._stub.RepositoryModelUnload(request, timeout=timeout_s))


def _strings(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        yield raw[at + 4 : at + 4 + length]
        at += 4 + length
