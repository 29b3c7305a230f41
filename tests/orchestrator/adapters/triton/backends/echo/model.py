"""An LLM's contract without an LLM. The prompt is a JSON plan of what to answer:

`pieces` are streamed, each as base64, for a character's bytes may be spread over two;
`show_sampling` streams the sampling parameters back; `finish` is the finish reason;
`logprobs` are the cumulative ones of each piece and of the end, sent if they are asked for;
`fail` is the number of a failure, which quotes the whole plan if it has a `secret`;
`hold` is a file to say "cancelled" in, once the endless answer was;
`told` is a file to write when a hint, a request of no other use, says that this was cancelled;
`crash` ends the model's process.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

FAILURES = (
    "sampling_parameters: 'top_k' must be above 0",
    "the engine died while it worked on this request",
    "something odd happened",
)


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._told: dict[str, str] = {}

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            cancelled = json.loads(request.parameters() or "{}").get("cancelled_request_id")
            if cancelled is not None:
                Path(self._told[cancelled]).write_text("told")
                request.get_response_sender().send(flags=FINAL)
                continue
            plan = json.loads(_text(request, "text_input"))
            self._told[request.request_id()] = plan.get("told")
            threading.Thread(target=_serve, args=(request,), daemon=True).start()


def _serve(request: Any) -> None:
    sender = request.get_response_sender()
    prompt = _text(request, "text_input")
    plan = json.loads(prompt)
    if "crash" in plan:
        os._exit(1)
    if plan.get("show_sampling"):
        sender.send(_response(_text(request, "sampling_parameters").encode()))
    sums = iter(plan.get("logprobs", ()) if _asks(request, "return_cumulative_logprob") else ())
    for piece in plan.get("pieces", ()):
        sender.send(_response(base64.b64decode(piece), logprob=next(sums, None)))
    for _ in _until_cancelled(sender, plan.get("hold")):
        sender.send(_response(b"on and "))
    if "fail" in plan:
        quoted = f" in {prompt}" if "secret" in plan else ""
        error = pb_utils.TritonError(FAILURES[plan["fail"] - 1] + quoted)
        sender.send(pb_utils.InferenceResponse([], error), flags=FINAL)
        return
    if "finish" in plan:
        sender.send(_response(b"", plan["finish"], next(sums, None)))
    sender.send(flags=FINAL)


def _until_cancelled(sender: Any, hold: str | None) -> Iterator[None]:
    if hold is None:
        return
    give_up = time.monotonic() + 60
    while not sender.is_cancelled() and time.monotonic() < give_up:
        yield
        time.sleep(0.005)
    Path(hold).write_text("cancelled" if sender.is_cancelled() else "gave up")


def _asks(request: Any, name: str) -> bool:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return tensor is not None and bool(tensor.as_numpy()[0])


def _text(request: Any, name: str) -> str:
    return str(pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0].decode())


def _response(text: bytes, finish: str = "None", logprob: float | None = None) -> Any:
    scores = [] if logprob is None else [np.array([logprob], np.float32)]
    return pb_utils.InferenceResponse(
        [
            *(pb_utils.Tensor("cumulative_logprob", score) for score in scores),
            pb_utils.Tensor("text_output", np.array([text], np.object_)),
            pb_utils.Tensor("finish_reason", np.array([finish.encode()], np.object_)),
            pb_utils.Tensor("num_input_tokens", np.array([9], np.uint32)),
            pb_utils.Tensor("num_output_tokens", np.array([1 if text else 0], np.uint32)),
        ]
    )
