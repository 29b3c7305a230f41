"""The prompt is the last message; a plan that asks for it gets the whole request back as pieces."""

import base64
import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [_serve(request) for request in requests]


def _serve(request: Any) -> Any:
    said = {name: _text(request, name) for name in ("MODEL", "MESSAGES", "TOOLS")}
    last = json.loads(said["MESSAGES"])[-1]["content"]
    plan = json.loads(last)
    if "refuse" in plan:
        code = pb_utils.TritonError.INVALID_ARG
        return pb_utils.InferenceResponse([], pb_utils.TritonError(plan["refuse"], code))
    if plan.get("echo_request"):
        plan["pieces"] = [base64.b64encode(json.dumps(said).encode()).decode()]
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("PROMPT", np.array([[json.dumps(plan).encode()]], np.object_)),
            pb_utils.Tensor("NUM_TOKENS", np.array([[plan.get("tokens", 7)]], np.uint32)),
        ]
    )


def _text(request: Any, name: str) -> str:
    return str(pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0][0].decode())
