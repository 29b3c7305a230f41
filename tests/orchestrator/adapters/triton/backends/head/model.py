"""A text of n characters is of class n modulo 3, for sure."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        return [_serve(request) for request in requests]


def _serve(request: Any) -> Any:
    vectors = pb_utils.get_input_tensor_by_name(request, "EMBEDDING").as_numpy()
    classes = np.full((len(vectors), 3), 0.125, np.float32)
    classes[np.arange(len(vectors)), vectors.argmax(axis=1) % 3] = 0.75
    return pb_utils.InferenceResponse([pb_utils.Tensor("PROBABILITIES", classes)])
