"""A client that costs little: it shares the machine's cores with the server it measures.

Requests are serialised once, before the clock starts; many travel on each of a few gRPC streams.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
STREAMS = 4
MAX_MESSAGE_BYTES = 64 << 20


@dataclass(slots=True)
class Answer:
    text: str = ""
    messages: int = 0
    first_s: float = 0.0
    done_s: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Round:
    seconds: float
    answers: list[Answer]


def request_bytes(
    model: str, request_id: int, prompt: str, sampling: dict[str, object], *, stream: bool = True
) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model, id=str(request_id))
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    for name, text in (("text_input", prompt), ("sampling_parameters", json.dumps(sampling))):
        request.inputs.add(name=name, datatype="BYTES", shape=[1])
        data = text.encode()
        request.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
    for name, value in (("stream", stream), ("exclude_input_in_output", True)):
        request.inputs.add(name=name, datatype="BOOL", shape=[1])
        request.raw_input_contents.append(bytes([value]))
    return bytes(request.SerializeToString())


async def burst(address: str, requests: list[bytes]) -> Round:
    """All requests at once; ends with the last answer. Ids must be 0, 1, 2, …"""
    answers = [Answer() for _ in requests]
    messages: list[tuple[float, bytes]] = []
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await channel.channel_ready()
        lanes = [requests[lane::STREAMS] for lane in range(STREAMS)]
        began = time.perf_counter()
        await asyncio.gather(*(_run_lane(channel, lane, messages) for lane in lanes))
        ended = time.perf_counter()
    for at, message in messages:
        _note(answers, at - began, service_pb2.ModelStreamInferResponse.FromString(message))
    return Round(ended - began, answers)


def open_stream(channel: grpc.aio.Channel, requests: Sequence[bytes]) -> Any:
    async def send() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    call: Any = channel.stream_stream(METHOD)
    return call(send())


async def _run_lane(
    channel: grpc.aio.Channel, requests: Sequence[bytes], messages: list[tuple[float, bytes]]
) -> None:
    async for message in open_stream(channel, requests):
        messages.append((time.perf_counter(), message))  # noqa: PERF401


def _note(
    answers: list[Answer], at_s: float, message: service_pb2.ModelStreamInferResponse
) -> None:
    response = message.infer_response
    if message.error_message:
        answers[int(response.id or 0)].error = message.error_message
        return
    answer = answers[int(response.id)]
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.name == "text_output":
            answer.text += raw[4:].decode()
    answer.messages += 1
    answer.first_s = answer.first_s or at_s
    answer.done_s = at_s
