"""A text's vector has a 1 at the place of the text's length."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [_serve(request) for request in requests]


def _serve(request: Any) -> Any:
    texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
    vectors = np.zeros((len(texts), 384), np.float32)
    vectors[np.arange(len(texts)), [len(text) for text in texts]] = 1
    return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", vectors)])
