"""The prompt is the last message, a plan for `echo_llm`, with some words of its own:

`tokens` is the count to return; `echo_request` makes the inputs the answer's text;
`refuse` refuses the request.
"""

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
    plan = json.loads(json.loads(said["MESSAGES"])[-1]["content"])
    if plan.get("refuse"):
        error = pb_utils.TritonError("MESSAGES[0] is wrong", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse([], error)
    if plan.get("echo_request"):
        plan["pieces"] = [base64.b64encode(json.dumps(said).encode()).decode()]
    prompt = np.array([[json.dumps(plan).encode()]], np.object_)
    tokens = np.array([[plan.get("tokens", 7)]], np.uint32)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("PROMPT", prompt), pb_utils.Tensor("NUM_TOKENS", tokens)]
    )


def _text(request: Any, name: str) -> str:
    return str(pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0][0].decode())
