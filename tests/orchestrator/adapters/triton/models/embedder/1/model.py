"""A text's vector has a 1 at the place of the text's length.

`!bad…` is refused, `!once…` fails the first time.
"""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._failed: set[bytes] = set()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._serve(request) for request in requests]

    def _serve(self, request: Any) -> Any:
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        for text in texts:
            first = text.startswith(b"!once") and text not in self._failed
            if first or text.startswith(b"!bad"):
                self._failed.add(text)
                code = pb_utils.TritonError.INTERNAL if first else pb_utils.TritonError.INVALID_ARG
                return pb_utils.InferenceResponse([], pb_utils.TritonError("it is bad", code))
        return _vectors(texts)


def _vectors(texts: Any) -> Any:
    vectors = np.zeros((len(texts), 384), np.float32)
    vectors[np.arange(len(texts)), [len(text) for text in texts]] = 1
    return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", vectors)])
