"""The last message of the prompt is a JSON plan: what to stream, how to end, how to fail.

`pieces` are base64 (a character's bytes may be spread over two); `hold` names a file that
is written when the request was seen cancelled; `sampling` streams the sampling back.
"""

import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            threading.Thread(target=_serve, args=(request,), daemon=True).start()


def _serve(request: Any) -> None:
    sender = request.get_response_sender()
    flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    try:
        plan = json.loads(_text(request, "text_input"))
        if "crash" in plan:
            os._exit(1)
        if "error" in plan:
            code = getattr(pb_utils.TritonError, plan["code"])
            raise (
                pb_utils.TritonModelException(plan["error"])
                if code is None
                else _Failed(pb_utils.TritonError(plan["error"], code))
            )
        if plan.get("sampling"):
            sampling = _text(request, "sampling_parameters")
            sender.send(_response(sampling.encode(), "None"))
        for piece in plan.get("pieces", ()):
            sender.send(_response(base64.b64decode(piece), "None"))
        if "hold" in plan:
            _stream_until_cancelled(sender, Path(plan["hold"]))
        elif plan.get("finish"):
            sender.send(_response(b"", plan["finish"]))
        sender.send(flags=flags)
    except _Failed as failed:
        sender.send(pb_utils.InferenceResponse([], failed.error), flags=flags)
    except Exception as error:
        sender.send(pb_utils.InferenceResponse([], pb_utils.TritonError(str(error))), flags=flags)


class _Failed(Exception):
    def __init__(self, error: Any) -> None:
        super().__init__()
        self.error = error


def _stream_until_cancelled(sender: Any, seen: Path) -> None:
    give_up = time.monotonic() + 30
    while not sender.is_cancelled() and time.monotonic() < give_up:
        sender.send(_response(b"on and ", "None"))
        time.sleep(0.01)
    seen.write_text("cancelled" if sender.is_cancelled() else "gave up")


def _text(request: Any, name: str) -> str:
    return str(pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0].decode())


def _response(text: bytes, finish: str) -> Any:
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("text_output", np.array([text], np.object_)),
            pb_utils.Tensor("finish_reason", np.array([finish.encode()], np.object_)),
            pb_utils.Tensor("num_input_tokens", np.array([7], np.uint32)),
            pb_utils.Tensor("num_output_tokens", np.array([1 if text else 0], np.uint32)),
        ]
    )
