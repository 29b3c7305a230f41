"""A caller of the vLLM contract over gRPC."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc as tritongrpc
from tritonclient.grpc.aio import InferenceServerClient

DEADLINE_S = 60.0
ALL_OUTPUTS = {
    "return_finish_reason": True,
    "return_cumulative_logprob": True,
    "return_logprobs": True,
    "return_num_input_tokens": True,
    "return_num_output_tokens": True,
}


@dataclass
class Heard:
    """All responses of one call: lists by output name."""

    outputs: list[dict[str, list[Any]]] = field(default_factory=list)
    error: str = ""

    @property
    def texts(self) -> list[str]:
        return [one["text_output"][0].decode() for one in self.outputs]

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def reason(self) -> str:
        return str(self.outputs[-1]["finish_reason"][0].decode())

    def total(self, name: str) -> int:
        return sum(int(one[name][0]) for one in self.outputs)


def tensor(name: str, value: str | bytes | bool) -> Any:
    kind = "BOOL" if isinstance(value, bool) else "BYTES"
    made = tritongrpc.InferInput(name, [1], kind)
    given = value.encode() if isinstance(value, str) else value
    made.set_data_from_numpy(np.array([given], dtype=bool if kind == "BOOL" else np.object_))
    return made


def call_inputs(
    prompt: str | bytes,
    sampling: Mapping[str, object] | str | bytes | None,
    flags: Mapping[str, bool],
) -> list[Any]:
    inputs = [tensor("text_input", prompt)]
    if sampling is not None:
        text = sampling if isinstance(sampling, str | bytes) else json.dumps(sampling)
        inputs.append(tensor("sampling_parameters", text))
    return inputs + [tensor(name, value) for name, value in flags.items()]


class LlmClient:
    def __init__(
        self,
        grpc_url: str,
        model: str = "llm_small",
        *,
        request_id: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.grpc = InferenceServerClient(grpc_url)
        self._model = model
        self._request_id = request_id
        self._parameters = parameters

    async def ask(
        self,
        prompt: str | bytes,
        sampling: Mapping[str, object] | str | bytes | None = None,
        **flags: bool,
    ) -> Heard:
        heard = Heard()

        async def listen() -> None:
            async for outputs, error in self.listen(prompt, sampling, **flags):
                if error:
                    heard.error = error
                else:
                    heard.outputs.append(outputs)

        await asyncio.wait_for(listen(), DEADLINE_S)
        return heard

    async def listen(
        self,
        prompt: str | bytes,
        sampling: Mapping[str, object] | str | bytes | None = None,
        **flags: bool,
    ) -> AsyncIterator[tuple[dict[str, list[Any]], str]]:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {
                "model_name": self._model,
                "inputs": call_inputs(prompt, sampling, flags),
                "enable_empty_final_response": True,
                "request_id": self._request_id,
                "parameters": self._parameters,
            }

        stream = self.grpc.stream_infer(requests())
        async for result, error in stream:
            if error is not None:
                yield {}, str(error.message())
                return
            response = result.get_response()
            found = {one.name: result.as_numpy(one.name).tolist() for one in response.outputs}
            if found:
                yield found, ""
            if response.parameters["triton_final_response"].bool_param:
                return

    async def close(self) -> None:
        await self.grpc.close()
